#pragma once

#include "bind/bind.h"
#include "ops/clusters.h"

namespace cmad {

template <class D>
void bind_clusters(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "clusters",
      [](In<float, D, -1, 3> xyz, Out<I, D, -1> label, I min_points, float eps,
         std::uintptr_t stream) {
        Clusters p{xyz.data(), label.data(), size(xyz, 0), min_points, eps};
        nb::gil_scoped_release nogil;
        clusters<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "label"_a.noconvert(), "min_points"_a, "eps"_a, "stream"_a);
}

}  // namespace cmad
