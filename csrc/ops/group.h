#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// The K points nearest to each centre, nearest first; ties go to the lowest index.
struct Group {
  const float* xyz;         // [B, N, 3] finite
  const float* centre;      // [B, G, 3] finite
  std::int64_t* index;      // [B, G, K] out
  std::int64_t B, N, G, K;  // 1 <= K <= N, or nothing to do
};
template <class Device>
void group(const Group&, void* stream);
template <>
void group<Cpu>(const Group&, void* stream);

}  // namespace cmad
