#include "core/launch.cuh"
#include "core/math.h"
#include "core/union_find.cuh"
#include "ops/components.h"

// In every kernel a thread has a pixel, and a warp 32 that follow each other. What is joined by
// atomics are stretches, the marked pixels side by side within a warp: a few for each row of a
// component.

namespace cmad {
namespace {

constexpr int kThreads = 256;

/// Each marked pixel's parent is its stretch's first.
__global__ void stretch_kernel(Pointer<const bool> mask, Pointer<std::int32_t> parent,
                               std::int64_t pixels, std::int64_t W) {
  const std::int64_t pixel = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const unsigned lane = threadIdx.x % 32;
  const bool marked = pixel < pixels && mask[pixel];
  const unsigned bits = __ballot_sync(kWholeWarp, marked);
  const bool left = pixel % W > 0 && lane > 0 && (bits >> (lane - 1) & 1);
  const unsigned begins = __ballot_sync(kWholeWarp, marked && !left);
  if (pixel >= pixels) return;
  const int begin = 31 - __clz(int(begins & (kWholeWarp >> (31 - lane))));
  parent[pixel] = marked ? std::int32_t(pixel - lane + begin) : -1;
}

/// Joins each stretch with the one before it in its row and those it touches in the row above: at
/// one pixel of the pair, which needs no more than who is marked around it to know that it is the
/// one.
__global__ void touch_kernel(Pointer<const bool> mask, Pointer<std::int32_t> parent,
                             std::int64_t pixels, std::int64_t W) {
  const std::int64_t pixel = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= pixels || !mask[pixel]) return;
  const std::int64_t x = pixel % W, above = pixel - W;
  const auto joins = [&](std::int64_t other) {
    join(parent, std::int32_t(pixel), std::int32_t(other));
  };
  const bool west = x > 0 && mask[pixel - 1];
  if (west && threadIdx.x % 32 == 0) joins(pixel - 1);
  if (above < 0) return;
  const bool north_west = x > 0 && mask[above - 1];
  if (mask[above]) {
    if (!west || !north_west) joins(above);  // else the pixel on the left does
    return;
  }
  const bool east = x + 1 < W && mask[pixel + 1], north_east = x + 1 < W && mask[above + 1];
  if (north_west && !west) joins(above - 1);
  if (north_east && !east) joins(above + 1);
}

/// A block has a chunk.
__global__ void label_kernel(Pointer<const std::int32_t> parent, Pointer<const std::int32_t> number,
                             Pointer<const std::int32_t> total, Pointer<std::int64_t> label,
                             std::int64_t pixels) {
  __shared__ Shared<std::int32_t[kChunk / 32]> warps;
  const std::int64_t pixel = std::int64_t(blockIdx.x) * kChunk + threadIdx.x;
  const bool marked = pixel < pixels && parent[pixel] >= 0;
  std::int32_t all;
  const std::int32_t before = count_before(marked, warps, all);
  if (!marked) return;
  const std::int64_t at = total[gridDim.x + blockIdx.x] + before;
  label[at] = number_of(number, total, root_of(parent, std::int32_t(pixel)));
}

}  // namespace

template <>
void components<Cuda>(const Components& p, void* stream) {
  const std::int64_t pixels = p.H * p.W;
  if (pixels == 0) return;
  const dim3 grid(unsigned(pieces(pixels, kThreads)));
  launch("components: stretch_kernel", stretch_kernel, grid, kThreads, 0, stream, p.mask, p.parent,
         pixels, p.W);
  launch("components: touch_kernel", touch_kernel, grid, kThreads, 0, stream, p.mask, p.parent,
         pixels, p.W);
  number_roots(p.parent, p.number, p.total, pixels, stream);
  launch("components: label_kernel", label_kernel, unsigned(pieces(pixels, kChunk)), kChunk, 0,
         stream, p.parent, p.number, p.total, p.label, pixels);
}

}  // namespace cmad
