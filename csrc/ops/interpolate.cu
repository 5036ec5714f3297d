#include "core/launch.cuh"
#include "core/math.h"
#include "ops/interpolate.h"

namespace cmad {
namespace {

constexpr int kLanes = 32, kRows = 4;  // a warp has a row

__global__ void interpolate_kernel(Pointer<const float> feature, Pointer<const std::int64_t> start,
                                   Pointer<const std::int32_t> index, Pointer<const float> weight,
                                   Pointer<float> out, std::int64_t P, std::int64_t D) {
  const std::int64_t row = std::int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (row >= P) return;
  const std::int64_t begin = start[row], end = start[row + 1];
  for (std::int64_t d = threadIdx.x; d < D; d += kLanes) {
    float sum = 0;
    for (std::int64_t i = begin; i < end; ++i) sum += weight[i] * feature[index[i] * D + d];
    out[row * D + d] = sum;
  }
}

}  // namespace

template <>
void interpolate<Cuda>(const Interpolate& p, void* stream) {
  if (p.P == 0 || p.D == 0) return;
  launch("interpolate_kernel", interpolate_kernel, unsigned(pieces(p.P, kRows)),
         dim3(kLanes, kRows), 0, stream, p.feature, p.start, p.index, p.weight, p.out, p.P, p.D);
}

}  // namespace cmad
