#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Fast point feature histograms (Rusu, Blodow, Beetz 2009) as open3d computes them, from each
/// point's neighbours, nearest first, the point itself among them. All arithmetic in float64.
///
/// The normal is that of the smallest spread of the first `normal_neighbours` that are nearer than
/// `normal_radius`; (0, 0, 1) with fewer than three. Of each of the neighbours nearer than
/// `radius`, but for the first, three angles between both normals and the line that joins the
/// points are counted in 11 bins each, in per cent (the simple histogram); to a point's own are
/// added those of its neighbours, each weighted by 1 / distance², scaled to 100 for each angle.
struct Fpfh {
  const float* xyz;           // [N, 3] finite; the clouds, one after another
  const std::int64_t* ptr;    // [B + 1] where each begins; ascending from 0 to N
  const std::int64_t* index;  // [N, K] neighbours, counted from the cloud's own first point
  double* normal;             // [N, 3] scratch
  double* simple;             // [N, 33] scratch
  double* out;                // [N, 33] 0 to 200
  std::int64_t B, N, K;
  std::int64_t normal_neighbours;
  double normal_radius, radius;  // metres
};
template <class Device>
void fpfh(const Fpfh&, void* stream);
template <>
void fpfh<Cpu>(const Fpfh&, void* stream);
template <>
void fpfh<Cuda>(const Fpfh&, void* stream);

}  // namespace cmad
