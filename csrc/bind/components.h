#pragma once

#include "bind/bind.h"
#include "ops/components.h"

namespace cmad {

template <class D>
void bind_components(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "components",
      [](In<bool, D, -1, -1> mask, Out<I, D, -1> label, std::uintptr_t stream) {
        Components p{mask.data(), label.data(), size(mask, 0), size(mask, 1), size(label, 0)};
        nb::gil_scoped_release nogil;
        components<D>(p, stream_of(stream));
      },
      "mask"_a.noconvert(), "label"_a.noconvert(), "stream"_a);
}

}  // namespace cmad
