#pragma once

#include <cstdint>

#include "core/simd.h"

// Distances of two rows of floats. In lanes that are added in one order, so that every machine and
// vector width gives the same result. Included by knn.cpp only.

namespace cmad {

constexpr int kDistanceLanes = 16;

template <class T>
inline T total(const T* lane) {
  T s[kDistanceLanes];
  for (int i = 0; i < kDistanceLanes; ++i) s[i] = lane[i];
  for (int half = kDistanceLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) s[i] += s[i + half];
  return s[0];
}

/// The squared distance, exact but for the rounding of float64.
CMAD_SIMD static double distance2(const float* __restrict a, const float* __restrict b,
                                  std::int64_t D) {
  double lane[kDistanceLanes] = {};
  std::int64_t d = 0;
  for (; d + kDistanceLanes <= D; d += kDistanceLanes)
    for (int i = 0; i < kDistanceLanes; ++i) {
      const double e = double(a[d + i]) - double(b[d + i]);
      lane[i] += e * e;
    }
  for (; d < D; ++d) {
    const double e = double(a[d]) - double(b[d]);
    lane[d % kDistanceLanes] += e * e;
  }
  return total(lane);
}

/// Whether the sum in float of the squared differences exceeds a limit; stops as soon as it does.
CMAD_SIMD static bool farther(const float* __restrict a, const float* __restrict b, std::int64_t D,
                              float limit) {
  constexpr std::int64_t kStride = 4 * kDistanceLanes, kChunk = 4 * kStride;
  float lane[kStride] = {};
  std::int64_t d = 0;
  for (; d + kChunk <= D; d += kChunk) {
    for (std::int64_t c = d; c < d + kChunk; c += kStride)
      for (int i = 0; i < kStride; ++i) {
        const float e = a[c + i] - b[c + i];
        lane[i] += e * e;
      }
    float sum[kDistanceLanes];
    for (int i = 0; i < kDistanceLanes; ++i)
      sum[i] = (lane[i] + lane[i + kDistanceLanes]) +
               (lane[i + 2 * kDistanceLanes] + lane[i + 3 * kDistanceLanes]);
    if (total(sum) > limit) return true;
  }
  for (; d < D; ++d) {
    const float e = a[d] - b[d];
    lane[d % kStride] += e * e;
  }
  float sum[kDistanceLanes];
  for (int i = 0; i < kDistanceLanes; ++i)
    sum[i] = (lane[i] + lane[i + kDistanceLanes]) +
             (lane[i + 2 * kDistanceLanes] + lane[i + 3 * kDistanceLanes]);
  return total(sum) > limit;
}

}  // namespace cmad
