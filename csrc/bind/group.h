#pragma once

#include "bind/bind.h"
#include "ops/group.h"

namespace cmad {

template <class D>
void bind_group(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "group",
      [](In<float, D, -1, 3> xyz, In<I, D, -1> ptr, In<float, D, -1, 3> centre,
         In<I, D, -1> centre_ptr, Out<I, D, -1, -1> index, std::uintptr_t stream) {
        Group p{xyz.data(),       ptr.data(),   centre.data(),   centre_ptr.data(), index.data(),
                size(ptr, 0) - 1, size(xyz, 0), size(centre, 0), size(index, 1)};
        nb::gil_scoped_release nogil;
        group<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "ptr"_a.noconvert(), "centre"_a.noconvert(), "centre_ptr"_a.noconvert(),
      "index"_a.noconvert(), "stream"_a);
}

}  // namespace cmad
