#pragma once

#include "bind/bind.h"
#include "ops/components.h"

namespace cmad {

template <class D>
void bind_components(nb::module_& m) {
  using I = std::int64_t;
  using I32 = std::int32_t;
  m.def(
      "components",
      [](In<bool, D, -1, -1> mask, Out<I, D, -1> label, Out<I32, D, -1> parent,
         Out<I32, D, -1> number, Out<I32, D, 2, -1> total, std::uintptr_t stream) {
        Components p{mask.data(),  label.data(),  parent.data(), number.data(),
                     total.data(), size(mask, 0), size(mask, 1), size(label, 0)};
        nb::gil_scoped_release nogil;
        components<D>(p, stream_of(stream));
      },
      "mask"_a.noconvert(), "label"_a.noconvert(), "parent"_a.noconvert(), "number"_a.noconvert(),
      "total"_a.noconvert(), "stream"_a);
}

}  // namespace cmad
