#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// The three centres nearest to each point, nearest first, and their interpolation weights
/// 1 / (d^2 + 1e-8), normalised to sum 1. Ties go to the lowest index.
/// With M < 3 centres the missing neighbours have index 0 and weight 0.
struct ThreeNn {
  const float* xyz;      // [B, N, 3] finite
  const float* centre;   // [B, M, 3] finite
  std::int64_t* index;   // [B, N, 3] out
  float* weight;         // [B, N, 3] out
  std::int64_t B, N, M;  // 1 <= M, or N == 0
};
template <class Device>
void three_nn(const ThreeNn&, void* stream);
template <>
void three_nn<Cpu>(const ThreeNn&, void* stream);

}  // namespace cmad
