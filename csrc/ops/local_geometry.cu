#include <cmath>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/local_geometry.h"
#include "ops/local_geometry_fit.h"

namespace cmad {
namespace {

constexpr int kThreads = 160, kLanes = 32;
constexpr int kRows = 16, kColumns = 32;  // pixels of a block
constexpr unsigned kAll = 0xffffffffu;

/// The point of a pixel, or false.
__device__ bool point_at(Pointer<const float> xyz, std::int64_t row, std::int64_t column,
                         std::int64_t H, std::int64_t W, float (&point)[3]) {
  if (row < 0 || row >= H || column < 0 || column >= W) return false;
  for (int k = 0; k < 3; ++k) point[k] = xyz[3 * (row * W + column) + k];
  return point[0] == point[0] && point[1] == point[1] && point[2] == point[2];
}

/// A block has a tile of a map and all squares of one size around its pixels. Shared memory has the
/// sums of each of the tile's and the squares' columns of pixels over the rows of the squares,
/// which move down by a row; a thread owns some columns. Then it adds columns to sums over squares,
/// of which a lane of the first warp makes the channels.
__global__ void local_geometry_kernel(Pointer<const float> xyz, Pointer<float> out, std::int64_t H,
                                      std::int64_t W, std::int64_t radius, std::int64_t which,
                                      std::int64_t R) {
  __shared__ Shared<double[4][kThreads / kLanes]> warps;
  __shared__ Shared<double[kSquareSums][kColumns]> total;
  const Pointer<double> sums = dynamic_shared<double>();  // [10, width]
  const int thread = int(threadIdx.x), lane = thread % kLanes;
  const int width = kColumns + 2 * int(radius), height = kRows + 2 * int(radius);
  const std::int64_t across = pieces(W, kColumns), down = pieces(H, kRows);
  const std::int64_t map = blockIdx.x / (across * down);
  const std::int64_t top = blockIdx.x / across % down * kRows;
  const std::int64_t left = blockIdx.x % across * kColumns;
  xyz += 3 * map * H * W;

  // The mean of all points here, from which sums are taken.
  double mean[4] = {};
  float point[3];
  for (int i = thread; i < height * width; i += kThreads)
    if (point_at(xyz, top - radius + i / width, left - radius + i % width, H, W, point)) {
      for (int k = 0; k < 3; ++k) mean[k] += point[k];
      mean[3] += 1;
    }
  for (int k = 0; k < 4; ++k) {
    for (int step = kLanes / 2; step > 0; step /= 2)
      mean[k] += __shfl_down_sync(kAll, mean[k], unsigned(step));
    if (lane == 0) warps[k][thread / kLanes] = mean[k];
  }
  __syncthreads();
  for (int k = 3; k >= 0; --k) {
    mean[k] = 0;
    for (int w = 0; w < kThreads / kLanes; ++w) mean[k] += warps[k][w];
    if (k < 3) mean[k] /= mean[3] > 0 ? mean[3] : 1;
  }

  const auto add_row = [&](std::int64_t row, int column, double sign) {
    float p[3];
    if (!point_at(xyz, row, left - radius + column, H, W, p)) return;
    const double x = p[0] - mean[0], y = p[1] - mean[1], z = p[2] - mean[2];
    const double terms[kSquareSums] = {1, x, y, z, x * x, x * y, y * y, x * z, y * z, z * z};
    for (int k = 0; k < kSquareSums; ++k) sums[k * width + column] += sign * terms[k];
  };
  for (int column = thread; column < width; column += kThreads) {
    for (int k = 0; k < kSquareSums; ++k) sums[k * width + column] = 0;
    for (std::int64_t row = top - radius; row < top + radius; ++row) add_row(row, column, 1);
  }
  for (std::int64_t row = top; row < top + kRows && row < H; ++row) {
    for (int column = thread; column < width; column += kThreads) {
      if (row > top) add_row(row - radius - 1, column, -1);
      add_row(row + radius, column, 1);
    }
    __syncthreads();  // the columns' sums are there, those of squares have been read
    for (int i = thread; i < kSquareSums * kColumns; i += kThreads) {
      double sum = 0;
      for (int j = 0; j <= 2 * int(radius); ++j)
        sum += sums[i / kColumns * width + i % kColumns + j];
      total[i / kColumns][i % kColumns] = sum;
    }
    __syncthreads();
    const std::int64_t column = left + thread;
    if (thread >= kColumns || column >= W) continue;
    float five[kSquareChannels] = {};
    if (point_at(xyz, row, column, H, W, point)) {
      double sum[kSquareSums], middle[3] = {}, near = 0;
      for (int k = 0; k < kSquareSums; ++k) sum[k] = total[k][thread];
      for (int i = 0; i < 9; ++i)
        if (point_at(xyz, row + i / 3 - 1, column + i % 3 - 1, H, W, point)) {
          for (int k = 0; k < 3; ++k) middle[k] += point[k] - mean[k];
          near += 1;
        }
      for (int k = 0; k < 3; ++k) middle[k] /= near;
      measure_square(sum, middle, five);
    }
    const std::int64_t pixel = (map * H + row) * W + column;
    for (int k = 0; k < kSquareChannels; ++k)
      out[(pixel * R + which) * kSquareChannels + k] = five[k];
  }
}

}  // namespace

template <>
void local_geometry<Cuda>(const LocalGeometry& p, void* stream) {
  const std::int64_t tiles = p.B * pieces(p.H, kRows) * pieces(p.W, kColumns);
  if (tiles == 0) return;
  for (std::int64_t i = 0; i < p.R; ++i) {
    const std::size_t shared = sizeof(double) * kSquareSums * (kColumns + 2 * p.radius[i]);
    launch("local_geometry_kernel", local_geometry_kernel, unsigned(tiles), kThreads, shared,
           stream, p.xyz, p.out, p.H, p.W, p.radius[i], i, p.R);
  }
}

}  // namespace cmad
