#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// 8-connected components of the pixels marked in a mask, numbered by their first pixel.
struct Components {
  const bool* mask;      // [H, W]
  std::int64_t* label;   // [P] out: of each marked pixel, in row-major order
  std::int32_t* parent;  // [H W] scratch of a GPU, as the two below: the tree of each pixel's set
  std::int32_t* number;  // [H W]
  std::int32_t* total;   // [2, pieces(H W, 256)]
  std::int64_t H, W, P;  // P = marked pixels; H W below 2^31
};
template <class Device>
void components(const Components&, void* stream);
template <>
void components<Cpu>(const Components&, void* stream);

}  // namespace cmad
