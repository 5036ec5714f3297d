#pragma once

#include "bind/bind.h"
#include "ops/plane.h"

namespace cmad {

template <class D>
void bind_plane(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "plane",
      [](In<float, D, -1, 3> xyz, Out<double, D, 4> result, Out<I, D, 1> support, I samples,
         I tries, float threshold, std::uint64_t seed, std::uintptr_t stream) {
        Plane p{xyz.data(), result.data(), support.data(), size(xyz, 0),
                samples,    tries,         threshold,      seed};
        nb::gil_scoped_release nogil;
        plane<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "plane"_a.noconvert(), "support"_a.noconvert(), "samples"_a, "tries"_a,
      "threshold"_a, "seed"_a, "stream"_a);
}

}  // namespace cmad
