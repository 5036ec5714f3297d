#pragma once

#include "bind/bind.h"
#include "ops/fpfh.h"

namespace cmad {

template <class D>
void bind_fpfh(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "fpfh",
      [](In<float, D, -1, 3> xyz, In<I, D, -1> ptr, In<I, D, -1, -1> index,
         Out<double, D, -1, 3> normal, Out<double, D, -1, 33> simple, Out<double, D, -1, 33> out,
         I normal_neighbours, double normal_radius, double radius, std::uintptr_t stream) {
        Fpfh p{xyz.data(),     ptr.data(),        index.data(),     normal.data(),
               simple.data(),  out.data(),        size(ptr, 0) - 1, size(xyz, 0),
               size(index, 1), normal_neighbours, normal_radius,    radius};
        nb::gil_scoped_release nogil;
        fpfh<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "ptr"_a.noconvert(), "index"_a.noconvert(), "normal"_a.noconvert(),
      "simple"_a.noconvert(), "out"_a.noconvert(), "normal_neighbours"_a, "normal_radius"_a,
      "radius"_a, "stream"_a);
}

}  // namespace cmad
