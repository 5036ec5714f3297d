#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Plane n . p + d = 0 with most points nearer than `threshold`, by seeded RANSAC.
///
/// Hypothesis t is the least-squares plane through the points
/// hash64(hash64(seed) + t * S + s) mod N, s < S; it is skipped if they lie on a line, which is
/// when the middle of their three variances is at most 1e-10 of the largest. A point supports it if
/// |n . p + d| < threshold in float32. The earliest of the best supported wins and is refitted by
/// least squares to the points that support it, or stays if those lie on a line. |n| = 1; the
/// origin, where the camera is, lies on the side with d >= 0. Least squares means orthogonal
/// distances, in float64.
struct Plane {
  const float* xyz;       // [N, 3] finite, N >= 1
  double* plane;          // [4] out: n, d; zeros if every hypothesis was degenerate
  std::int64_t* support;  // [1] out: points supporting the best hypothesis
  double* hypothesis;     // [T, 4] scratch of a GPU, as the two below
  std::int32_t* count;    // [T + 1]
  double* part;           // [kPlaneParts, 10]
  std::int64_t N, S, T;   // 3 <= S points a hypothesis, T hypotheses; N and T below 2^31
  float threshold;        // metres
  std::uint64_t seed;
};
constexpr std::int64_t kPlaneParts = 64;  // that are summed apart

template <class Device>
void plane(const Plane&, void* stream);
template <>
void plane<Cpu>(const Plane&, void* stream);

}  // namespace cmad
