#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// The K points of its cloud nearest to each centre, nearest first; ties go to the lowest index.
struct Group {
  const float* xyz;                // [N, 3] finite; the clouds, one after another
  const std::int64_t* ptr;         // [B + 1] where each begins; ascending from 0 to N
  const float* centre;             // [G, 3] finite; the clouds' centres, one cloud after another
  const std::int64_t* centre_ptr;  // [B + 1] where each cloud's begin; ascending from 0 to G
  std::int64_t* index;             // [G, K] out, counted from the cloud's own first point
  std::int64_t B, N, G, K;         // 1 <= K <= points of each cloud
};
template <class Device>
void group(const Group&, void* stream);
template <>
void group<Cpu>(const Group&, void* stream);
template <>
void group<Cuda>(const Group&, void* stream);

}  // namespace cmad
