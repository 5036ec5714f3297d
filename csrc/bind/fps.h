#pragma once

#include "bind/bind.h"
#include "ops/fps.h"

namespace cmad {

template <class D>
void bind_fps(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "fps",
      [](In<float, D, -1, 3> xyz, In<I, D, -1> ptr, Out<std::int32_t, D, -1, kFpsRunBits> scratch,
         Out<I, D, -1, -1> index, bool published_ties, double skip, std::uintptr_t stream) {
        Fps p{xyz.data(),   ptr.data(),     scratch.data(), index.data(), size(index, 0),
              size(xyz, 0), size(index, 1), published_ties, skip};
        nb::gil_scoped_release nogil;
        fps<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "ptr"_a.noconvert(), "scratch"_a.noconvert(), "index"_a.noconvert(),
      "published_ties"_a, "skip"_a, "stream"_a);
}

}  // namespace cmad
