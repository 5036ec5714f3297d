#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// The surface around every pixel of an organised grid, in squares of 2 r + 1 pixels, cut off at
/// the border: of the points p in a square, the plane z = a x + b y + c by least squares.
///
/// Per square: its normal (a, b, -1), scaled to 1; how far the mean of the points in the 3 x 3
/// pixels around lies from it along the normal; the points' deviation from it along the normal;
/// both divided by sqrt(var x + var y). Where the points of a square lie on a line, as
/// spread_flat() says, a and b are 0. Sums are of differences from a point nearby, in float64. A
/// pixel has a point where none of its coordinates is NaN; those without get zeros.
struct LocalGeometry {
  const float* xyz;            // [B, H, W, 3] metres, finite or NaN
  const std::int64_t* radius;  // [R] r, 1 to kMostRadius, on the host
  float* out;                  // [B, H, W, R, 5] normal, bend, roughness
  std::int64_t B, H, W, R;
};
constexpr std::int64_t kMostRadius = 256;

template <class Device>
void local_geometry(const LocalGeometry&, void* stream);
template <>
void local_geometry<Cpu>(const LocalGeometry&, void* stream);
template <>
void local_geometry<Cuda>(const LocalGeometry&, void* stream);

}  // namespace cmad
