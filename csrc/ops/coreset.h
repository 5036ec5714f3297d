#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Greedy k-centre: each pick is the row with the largest squared distance to its nearest earlier
/// pick; ties go to the lowest index. No row is picked twice, so when only copies of picks are left
/// they come in the order of their indices.
///
/// A distance is a float32 sum of squared differences in 16 lanes, entry d in lane d mod 16 from
/// the first to the last, then lane i + 8 added to lane i, then i + 4, i + 2, i + 1. NaN counts as
/// 0.
///
/// A long run is cut in calls: `begin` picks were made by earlier ones, with the state they left.
struct Coreset {
  const float* row;         // [M, D]
  std::int64_t* index;      // [K] the first `begin`, at least one, in; up to `end` out
  float* bound;             // [M] state, infinite at first: at least the distance to the picks
  std::int32_t* seen;       // [M] state, 0 at first: the number of picks in `bound`; a GPU's all
                            // have all but the last, and it leaves this as it is
  std::int64_t* active;     // [M] scratch
  std::int64_t M, D, K;     // K <= M
  std::int64_t begin, end;  // 1 <= begin <= end <= K
  std::int64_t wanted;      // rows looked at together, at least 1; changes a CPU's speed only
};
template <class Device>
void coreset(const Coreset&, void* stream);
template <>
void coreset<Cpu>(const Coreset&, void* stream);
template <>
void coreset<Cuda>(const Coreset&, void* stream);

}  // namespace cmad
