#pragma once

#include "bind/bind.h"
#include "ops/clusters.h"

namespace cmad {

template <class D>
void bind_clusters(nb::module_& m) {
  using I = std::int64_t;
  using I32 = std::int32_t;
  m.def(
      "clusters",
      [](In<float, D, -1, 3> xyz, Out<I, D, -1> label, Out<I, D, -1, 3> cube,
         Out<float, D, -1, 3> sorted, Out<bool, D, -1> core, Out<I32, D, -1> slot,
         Out<I32, D, -1> order, Out<I32, D, -1> parent, Out<I32, D, -1> number,
         Out<I32, D, -1> filled, Out<I32, D, 2, -1> total, Out<I32, D, -1> owner,
         Out<I32, D, -1> count, Out<I32, D, -1> end, Out<I32, D, -1> lowest, I min_points,
         float eps, std::uintptr_t stream) {
        Clusters p{xyz.data(),    label.data(),  size(xyz, 0),  min_points,    eps,
                   cube.data(),   sorted.data(), core.data(),   slot.data(),   order.data(),
                   parent.data(), number.data(), filled.data(), total.data(),  owner.data(),
                   count.data(),  end.data(),    lowest.data(), size(owner, 0)};
        nb::gil_scoped_release nogil;
        clusters<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "label"_a.noconvert(), "cube"_a.noconvert(), "sorted"_a.noconvert(),
      "core"_a.noconvert(), "slot"_a.noconvert(), "order"_a.noconvert(), "parent"_a.noconvert(),
      "number"_a.noconvert(), "filled"_a.noconvert(), "total"_a.noconvert(), "owner"_a.noconvert(),
      "count"_a.noconvert(), "end"_a.noconvert(), "lowest"_a.noconvert(), "min_points"_a, "eps"_a,
      "stream"_a);
}

}  // namespace cmad
