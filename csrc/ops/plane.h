#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Plane n . p + d = 0 with most points nearer than `threshold`, by seeded RANSAC.
///
/// Hypothesis t is the least-squares plane through the points hash64(seed + t * S + s) mod N,
/// s < S; a hypothesis whose points lie on a line is skipped. A point supports it if
/// |n . p + d| < threshold in float32. The earliest of the best supported wins and is refitted by
/// least squares to the points that support it. |n| = 1; the origin, where the camera is, lies on
/// the side with d >= 0. Least squares means orthogonal distances, in float64.
struct Plane {
  const float* xyz;       // [N, 3] finite, N >= 1
  double* plane;          // [4] out: n, d; zeros if every hypothesis was degenerate
  std::int64_t* support;  // [1] out: points supporting the best hypothesis
  std::int64_t N, S, T;   // 3 <= S points a hypothesis, T hypotheses
  float threshold;        // metres
  std::uint64_t seed;
};
template <class Device>
void plane(const Plane&, void* stream);
template <>
void plane<Cpu>(const Plane&, void* stream);

}  // namespace cmad
