#pragma once

#include "bind/bind.h"
#include "ops/plane.h"

namespace cmad {

template <class D>
void bind_plane(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "plane",
      [](In<float, D, -1, 3> xyz, Out<double, D, 4> result, Out<I, D, 1> support,
         Out<double, D, -1, 4> hypothesis, Out<std::int32_t, D, -1> count,
         Out<double, D, kPlaneParts, 10> part, I samples, float threshold, std::uint64_t seed,
         std::uintptr_t stream) {
        Plane p{xyz.data(),  result.data(), support.data(), hypothesis.data(),   count.data(),
                part.data(), size(xyz, 0),  samples,        size(hypothesis, 0), threshold,
                seed};
        nb::gil_scoped_release nogil;
        plane<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "plane"_a.noconvert(), "support"_a.noconvert(),
      "hypothesis"_a.noconvert(), "count"_a.noconvert(), "part"_a.noconvert(), "samples"_a,
      "threshold"_a, "seed"_a, "stream"_a);
}

}  // namespace cmad
