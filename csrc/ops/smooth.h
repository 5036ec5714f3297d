#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Separable convolution of maps with one symmetric kernel, rows then columns, in float32, taps
/// added in ascending order. Outside a map: zeros, or its mirror image with the edge pixel
/// repeated.
struct Smooth {
  const float* map;         // [B, H, W]
  const float* kernel;      // [T], T odd
  float* scratch;           // [B, H, W] the rows done
  float* out;               // [B, H, W] may be `map`
  std::int64_t B, H, W, T;  // H, W >= 1
  bool mirror;
};
template <class Device>
void smooth(const Smooth&, void* stream);
template <>
void smooth<Cpu>(const Smooth&, void* stream);
template <>
void smooth<Cuda>(const Smooth&, void* stream);

}  // namespace cmad
