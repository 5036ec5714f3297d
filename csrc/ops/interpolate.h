#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Sparse weights (compressed rows) times features: out[p] = sum over i of weight[i]
/// feature[index[i]], i from start[p] to start[p + 1], in that order, in float32. An empty row
/// gives zeros.
struct Interpolate {
  const float* feature;       // [M, D]
  const std::int64_t* start;  // [P + 1] ascending
  const std::int32_t* index;  // [E] in [0, M)
  const float* weight;        // [E]
  float* out;                 // [P, D]
  std::int64_t P, D;
};
template <class Device>
void interpolate(const Interpolate&, void* stream);
template <>
void interpolate<Cpu>(const Interpolate&, void* stream);
template <>
void interpolate<Cuda>(const Interpolate&, void* stream);

}  // namespace cmad
