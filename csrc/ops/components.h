#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// 8-connected components of the pixels marked in a mask, numbered by their first pixel.
struct Components {
  const bool* mask;      // [H, W]
  std::int64_t* label;   // [P] out: of each marked pixel, in row-major order
  std::int64_t H, W, P;  // P = marked pixels
};
template <class Device>
void components(const Components&, void* stream);
template <>
void components<Cpu>(const Components&, void* stream);

}  // namespace cmad
