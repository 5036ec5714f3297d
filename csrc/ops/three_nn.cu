#include "core/launch.cuh"
#include "core/math.h"
#include "ops/three_nn.h"

namespace cmad {
namespace {

constexpr int kThreads = 128;                       // points of a block, and centres of a tile
constexpr std::int64_t kMostClouds = 65535;         // in one grid
constexpr std::uint64_t kNone = ~std::uint64_t(0);  // above every key

/// Puts a key into the three least, which ascend.
__device__ void put(std::uint64_t key, std::uint64_t (&least)[3]) {
  for (std::uint64_t& kept : least)
    if (key < kept) {
      const std::uint64_t next = kept;
      kept = key;
      key = next;
    }
}

/// A block has points of one cloud, a thread one of them; the cloud's centres pass through shared
/// memory, a tile at a time.
__global__ void three_nn_kernel(Pointer<const float> xyz, Pointer<const std::int64_t> ptr,
                                Pointer<const float> centre, Pointer<const std::int64_t> centre_ptr,
                                Pointer<std::int64_t> index, Pointer<float> weight,
                                std::int64_t B) {
  __shared__ Shared<float[3 * kThreads]> tile;
  const int t = int(threadIdx.x);
  for (std::int64_t b = blockIdx.y; b < B; b += gridDim.y) {
    const std::int64_t block = ptr[b] + std::int64_t(blockIdx.x) * kThreads, end = ptr[b + 1];
    if (block >= end) continue;
    const std::int64_t n = block + t, first = centre_ptr[b], M = centre_ptr[b + 1] - first;
    float point[3] = {};
    for (int k = 0; k < 3 && n < end; ++k) point[k] = xyz[3 * n + k];
    std::uint64_t least[3] = {kNone, kNone, kNone};
    for (std::int64_t begin = 0; begin < M; begin += kThreads) {
      const int count = int(M - begin < kThreads ? M - begin : kThreads);
      __syncthreads();  // who still reads the tile before
      for (int i = t; i < 3 * count; i += kThreads) tile[i] = centre[3 * (first + begin) + i];
      __syncthreads();
      for (int c = 0; c < count; ++c) {
        const float at[3] = {tile[3 * c], tile[3 * c + 1], tile[3 * c + 2]};
        put(nearest_key(dist2(at, point), begin + c), least);
      }
    }
    if (n >= end) continue;
    double each[3], sum = 0;
    for (int j = 0; j < 3; ++j) {
      each[j] = least[j] == kNone ? 0 : 1 / (double(key_dist2(least[j])) + 1e-8);
      sum += each[j];
    }
    for (int j = 0; j < 3; ++j) {
      index[3 * n + j] = least[j] == kNone ? 0 : key_index(least[j]);
      weight[3 * n + j] = float(each[j] / sum);
    }
  }
}

}  // namespace

template <>
void three_nn<Cuda>(const ThreeNn& p, void* stream) {
  if (p.N == 0) return;
  // Each cloud may have all of the points: their number is not read on the host.
  const dim3 grid(unsigned(pieces(p.N, kThreads)), unsigned(p.B < kMostClouds ? p.B : kMostClouds));
  launch("three_nn_kernel", three_nn_kernel, grid, kThreads, 0, stream, p.xyz, p.ptr, p.centre,
         p.centre_ptr, p.index, p.weight, p.B);
}

}  // namespace cmad
