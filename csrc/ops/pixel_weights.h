#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Sparse weights from pixels to centres: the neighbours of each point, spread by a separable
/// smoothing footprint over the square image (pixels without a point contribute nothing).
///
/// Output pixel (r, c) reads pixels (first[r] + i, first[c] + j), i, j < T, inside the image, with
/// weight tap[r][i] * tap[c][j]. Entries of one pixel are merged by centre and ascend by centre.
struct PixelWeights {
  const std::int64_t* neighbour;  // [N, J] centres of each point
  const float* neighbour_weight;  // [N, J] entries of weight 0 are left out
  const std::int64_t* point;      // [S, S] point seen at a pixel, -1 for none
  const std::int64_t* first;      // [S] may be negative or reach beyond S
  const float* tap;               // [S, T]
  const std::int64_t* pixel;      // [P] output pixels, row * S + column
  std::int64_t* start;            // [P + 1] out
  std::int32_t* index;            // [P * T * T * J] out: the first start[P] entries
  float* weight;                  // [P * T * T * J] out: the first start[P] entries
  std::int64_t J, S, T, P;
};
template <class Device>
void pixel_weights(const PixelWeights&, void* stream);
template <>
void pixel_weights<Cpu>(const PixelWeights&, void* stream);

}  // namespace cmad
