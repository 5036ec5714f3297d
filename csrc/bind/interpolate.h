#pragma once

#include "bind/bind.h"
#include "ops/interpolate.h"

namespace cmad {

template <class D>
void bind_interpolate(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "interpolate",
      [](In<float, D, -1, -1> feature, In<I, D, -1> start, In<std::int32_t, D, -1> index,
         In<float, D, -1> weight, Out<float, D, -1, -1> out, std::uintptr_t stream) {
        Interpolate p{feature.data(), start.data(), index.data(), weight.data(),
                      out.data(),     size(out, 0), size(out, 1)};
        nb::gil_scoped_release nogil;
        interpolate<D>(p, stream_of(stream));
      },
      "feature"_a.noconvert(), "start"_a.noconvert(), "index"_a.noconvert(), "weight"_a.noconvert(),
      "out"_a.noconvert(), "stream"_a);
}

}  // namespace cmad
