#pragma once

#include "bind/bind.h"
#include "ops/local_geometry.h"

namespace cmad {

template <class D>
void bind_local_geometry(nb::module_& m) {
  m.def(
      "local_geometry",
      [](In<float, D, -1, -1, -1, 3> xyz, In<std::int64_t, Cpu, -1> radius,
         Out<float, D, -1, -1, -1, -1, 5> out, std::uintptr_t stream) {
        LocalGeometry p{xyz.data(),   radius.data(), out.data(),     size(xyz, 0),
                        size(xyz, 1), size(xyz, 2),  size(radius, 0)};
        nb::gil_scoped_release nogil;
        local_geometry<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "radius"_a.noconvert(), "out"_a.noconvert(), "stream"_a);
}

}  // namespace cmad
