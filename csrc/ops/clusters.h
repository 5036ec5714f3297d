#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// DBSCAN. A core point has at least `min_points` points, itself included, with
/// squared distance <= eps * eps in float32; core points that near each other share a cluster.
/// Clusters are numbered by their lowest core point. Another point joins the lowest-numbered
/// cluster that has a core point so near, or is noise, -1.
struct Clusters {
  const float* xyz;            // [N, 3] finite, |coordinate| <= 1e18 eps
  std::int64_t* label;         // [N] out
  std::int64_t N, min_points;  // N below 2^30
  float eps;                   // metres, in [1e-18, 1e18]

  // Scratch of a GPU: of the points,
  std::int64_t* cube;                            // [N, 3]
  float* sorted;                                 // [N, 3]
  bool* core;                                    // [N]
  std::int32_t *slot, *order, *parent, *number;  // [N]
  std::int32_t* filled;                          // [N + 2]
  std::int32_t* total;                           // [2, pieces(N, 256)]
  // and a hash table.
  std::int32_t *owner, *count, *end, *lowest;  // [C]
  std::int64_t C;                              // a power of two, above N
};
template <class Device>
void clusters(const Clusters&, void* stream);
template <>
void clusters<Cpu>(const Clusters&, void* stream);

}  // namespace cmad
