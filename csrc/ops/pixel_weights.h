#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Sparse weights from pixels to centres: the neighbours of each point, spread by a separable
/// footprint over a square frame of S x S pixels (those without a point contribute nothing) and
/// read on a raster of R x R.
///
/// Output pixel (r, c) reads frame pixels (first[r] + i, first[c] + j), i, j < T, inside the frame,
/// with weight tap[r][i] * tap[c][j]. Entries of one pixel are merged by centre and ascend by
/// centre; sums are in float64, in the order of i, j and neighbour. A tap or a weight of 0 makes no
/// entry.
struct PixelWeights {
  const std::int64_t* neighbour;  // [N, J] centres of each point, in [0, M)
  const float* neighbour_weight;  // [N, J]
  const std::int64_t* point;      // [S, S] point seen at a pixel, in [0, N), or -1 for none
  const std::int64_t* first;      // [R] may be negative or reach beyond S
  const float* tap;               // [R, T]
  const std::int64_t* pixel;      // [P] output pixels, row * R + column
  std::int64_t J, S, R, T, P, M;
};
/// Where the entries of each pixel begin: start [P + 1] out, the last is how many there are.
template <class Device>
void pixel_weights_start(const PixelWeights&, std::int64_t* start, void* stream);
template <>
void pixel_weights_start<Cpu>(const PixelWeights&, std::int64_t* start, void* stream);
template <>
void pixel_weights_start<Cuda>(const PixelWeights&, std::int64_t* start, void* stream);

/// The entries themselves: index and weight [start[P]] out.
template <class Device>
void pixel_weights(const PixelWeights&, const std::int64_t* start, std::int32_t* index,
                   float* weight, void* stream);
template <>
void pixel_weights<Cpu>(const PixelWeights&, const std::int64_t* start, std::int32_t* index,
                        float* weight, void* stream);
template <>
void pixel_weights<Cuda>(const PixelWeights&, const std::int64_t* start, std::int32_t* index,
                         float* weight, void* stream);

}  // namespace cmad
