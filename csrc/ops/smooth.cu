#include "core/launch.cuh"
#include "core/math.h"
#include "ops/smooth.h"

namespace cmad {
namespace {

constexpr int kThreads = 256;

/// The pixel that stands for position `i` of a line of length `n`, or -1 for zero.
__device__ std::int64_t source(std::int64_t i, std::int64_t n, bool mirror) {
  if (i >= 0 && i < n) return i;
  if (!mirror) return -1;
  const std::int64_t m = ((i % (2 * n)) + 2 * n) % (2 * n);
  return m < n ? m : 2 * n - 1 - m;
}

/// Along the axis of length n whose pixels are `stride` apart; a thread has a pixel.
__global__ void smooth_kernel(Pointer<const float> in, Pointer<const float> kernel,
                              Pointer<float> out, std::int64_t pixels, std::int64_t T,
                              std::int64_t n, std::int64_t stride, bool mirror) {
  const std::int64_t pixel = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  const std::int64_t at = pixel / stride % n, line = pixel - at * stride;
  float sum = 0;
  for (std::int64_t t = 0; t < T; ++t) {
    const std::int64_t from = source(at + t - T / 2, n, mirror);
    if (from >= 0) sum += kernel[t] * in[line + from * stride];
  }
  out[pixel] = sum;
}

}  // namespace

template <>
void smooth<Cuda>(const Smooth& p, void* stream) {
  const std::int64_t pixels = p.B * p.H * p.W;
  if (pixels == 0) return;
  const dim3 grid(unsigned(pieces(pixels, kThreads)));
  launch("smooth_kernel", smooth_kernel, grid, kThreads, 0, stream, p.map, p.kernel, p.scratch,
         pixels, p.T, p.W, std::int64_t(1), p.mirror);
  launch("smooth_kernel", smooth_kernel, grid, kThreads, 0, stream, p.scratch, p.kernel, p.out,
         pixels, p.T, p.H, p.W, p.mirror);
}

}  // namespace cmad
