#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// The three centres of its cloud nearest to each point, nearest first, and their interpolation
/// weights 1 / (d^2 + 1e-8), normalised to sum 1. Ties go to the lowest index. With fewer than
/// three centres the missing neighbours have index 0 and weight 0.
struct ThreeNn {
  const float* xyz;                // [N, 3] finite; the clouds, one after another
  const std::int64_t* ptr;         // [B + 1] where each begins; ascending from 0 to N
  const float* centre;             // [M, 3] finite; the clouds' centres, one cloud after another
  const std::int64_t* centre_ptr;  // [B + 1] where each cloud's begin; ascending from 0 to M
  std::int64_t* index;             // [N, 3] out, counted from the cloud's own first centre
  float* weight;                   // [N, 3] out
  std::int64_t B, N, M;            // a cloud with points has a centre
};
template <class Device>
void three_nn(const ThreeNn&, void* stream);
template <>
void three_nn<Cpu>(const ThreeNn&, void* stream);
template <>
void three_nn<Cuda>(const ThreeNn&, void* stream);

}  // namespace cmad
