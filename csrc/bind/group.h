#pragma once

#include "bind/bind.h"
#include "ops/group.h"

namespace cmad {

template <class D>
void bind_group(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "group",
      [](In<float, D, -1, -1, 3> xyz, In<float, D, -1, -1, 3> centre, Out<I, D, -1, -1, -1> index,
         std::uintptr_t stream) {
        Group p{xyz.data(),   centre.data(),   index.data(),  size(xyz, 0),
                size(xyz, 1), size(centre, 1), size(index, 2)};
        nb::gil_scoped_release nogil;
        group<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "centre"_a.noconvert(), "index"_a.noconvert(), "stream"_a);
}

}  // namespace cmad
