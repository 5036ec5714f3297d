#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

constexpr std::int64_t kFpsRun = 64;               // points that a GPU keeps together
constexpr std::int64_t kFpsRunBits = 5 * kFpsRun;  // numbers it keeps of them

/// Farthest point sampling: each pick is the point with the largest squared distance to its nearest
/// earlier pick. Starts at a cloud's point 0.
struct Fps {
  const float* xyz;         // [N, 3] finite; the clouds, one after another
  const std::int64_t* ptr;  // [B + 1] where each begins; ascending from 0 to N
  std::int32_t* scratch;    // [N / kFpsRun + B, kFpsRunBits] of a GPU; the CPU leaves it as it is
  std::int64_t* index;      // [B, K] out, counted from the cloud's own first point
  std::int64_t B, N, K;     // 1 <= K <= points of each cloud
  // Among equally far points: false, the lowest index; true, the order of the published CUDA
  // kernel, by bit-reversed (index mod block), then index, with block the largest power of two
  // that is at most 512 and the points of the cloud.
  bool published_ties;
  // A point with x*x + y*y + z*z <= skip is picked only as point 0, and shortens no distance of
  // its own; where all are skipped every pick is 0. Negative: none is skipped.
  double skip;
};
template <class Device>
void fps(const Fps&, void* stream);
template <>
void fps<Cpu>(const Fps&, void* stream);
template <>
void fps<Cuda>(const Fps&, void* stream);

}  // namespace cmad
