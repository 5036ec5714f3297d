#pragma once

#include <cmath>

#include "core/device.h"

// What both devices make of a square's sums, in the same order of operations.

namespace cmad {

/// Points, x, y, z, x x, x y, y y, x z, y z, z z.
constexpr int kSquareSums = 10;
constexpr int kSquareChannels = 5;

/// Whether points with these variances lie on no line, as seen along z, by one thousandth of their
/// extent, and extend for more than a micrometre.
CMAD_BOTH inline bool spread_flat(double size, double area) {
  return (area > 1e-6 * size * size) & (size > 1e-12);
}

/// From the sums over a square and the mean of the nine pixels, both from one origin.
CMAD_BOTH inline void measure_square(const double (&sum)[kSquareSums], const double (&middle)[3],
                                     float (&out)[kSquareChannels]) {
  const double share = 1 / sum[0];
  const double x = sum[1] * share, y = sum[2] * share, z = sum[3] * share;
  const double xx = sum[4] * share - x * x, xy = sum[5] * share - x * y;
  const double yy = sum[6] * share - y * y, xz = sum[7] * share - x * z;
  const double yz = sum[8] * share - y * z, zz = sum[9] * share - z * z;
  const double size = xx + yy, area = xx * yy - xy * xy;
  const bool flat = spread_flat(size, area);
  const double each = flat ? 1 / area : 0;
  const double a = (xz * yy - yz * xy) * each, b = (yz * xx - xz * xy) * each;
  const double unit = 1 / std::sqrt((a * a + b * b) + 1);
  const double extent = std::sqrt(size > 1e-12 ? size : 1e-12);
  const double off = (a * (middle[0] - x) + b * (middle[1] - y)) - (middle[2] - z);
  const double left = (zz - a * xz) - b * yz;
  out[0] = float(a * unit);
  out[1] = float(b * unit);
  out[2] = float(-unit);
  out[3] = float(off * unit / extent);
  out[4] = float(std::sqrt(left > 0 ? left : 0) * unit / extent);
}

}  // namespace cmad
