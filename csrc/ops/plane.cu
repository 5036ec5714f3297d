#include <cmath>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/plane.h"
#include "ops/plane_fit.h"

// Five launches: a warp fits a hypothesis, summing its points in the contract's order; a thread
// scores some hypotheses on tiles of points; sums over the best one's supporters, for their mean
// and then for their spread; the refit. These sums are of blocks' sums, each in an order that only
// the sizes decide.

namespace cmad {
namespace {

constexpr int kLanes = 32, kRows = 4;                   // a warp has a hypothesis
constexpr int kScorers = 64, kEach = 4, kPoints = 128;  // threads, hypotheses of one, of a tile
constexpr std::int64_t kMostTiles = 128;                // scored by blocks of their own
constexpr int kSummers = 128;
constexpr int kSums = 10;  // of a block: supporters, 3 coordinates, 6 products of differences
constexpr unsigned kAll = 0xffffffffu;

/// Draw s of hypothesis t is a hash of `key` + t S + s.
__global__ void hypothesis_kernel(Pointer<const float> xyz, Pointer<double> hypothesis,
                                  Pointer<std::int32_t> count, std::int64_t N, std::int64_t S,
                                  std::int64_t T, std::uint64_t key) {
  __shared__ Shared<float[kRows][3 * kLanes]> drawn;
  const int lane = int(threadIdx.x), row = int(threadIdx.y);
  const std::int64_t t = std::int64_t(blockIdx.x) * kRows + row;
  if (t >= T) return;  // a whole warp
  // `take(i)` gets the place of each point in turn.
  const auto each_point = [&](auto&& take) {
    for (std::int64_t begin = 0; begin < S; begin += kLanes) {
      const std::int64_t s = begin + lane;
      __syncwarp();  // who still reads the points before
      if (s < S) {
        const std::uint64_t n = hash64(key + std::uint64_t(t * S + s)) % std::uint64_t(N);
        for (int k = 0; k < 3; ++k) drawn[row][3 * lane + k] = xyz[3 * std::int64_t(n) + k];
      }
      __syncwarp();
      for (int i = 0; i < kLanes && begin + i < S; ++i) take(3 * i);
    }
  };
  // A lane has a coordinate, then one of the nine products.
  double sum = 0, product = 0;
  const int k = lane % 3, j = lane / 3 % 3;
  each_point([&](int i) { sum += drawn[row][i + k]; });
  sum /= double(S);
  const double mean_j = __shfl_sync(kAll, sum, j);
  each_point([&](int i) { product += (drawn[row][i + j] - mean_j) * (drawn[row][i + k] - sum); });
  double mean[3], a[3][3];
  for (int r = 0; r < 3; ++r) {
    mean[r] = __shfl_sync(kAll, sum, r);
    for (int c = 0; c < 3; ++c) a[r][c] = __shfl_sync(kAll, product, 3 * r + c);
  }
  const Fit f = plane_through(mean, a);
  if (lane > 0) return;
  // No point supports one that is infinitely far.
  for (int c = 0; c < 3; ++c) hypothesis[4 * t + c] = f.ok ? f.n[c] : 0;
  hypothesis[4 * t + 3] = f.ok ? f.d : double(INFINITY);
  count[t] = f.ok ? 0 : -1;
}

/// The plane in float32, as points are compared with it.
struct Rounded {
  float n[3], d;
};

__device__ Rounded rounded(Pointer<const double> hypothesis, std::int64_t t) {
  Rounded plane;
  for (int k = 0; k < 3; ++k) plane.n[k] = float(hypothesis[4 * t + k]);
  plane.d = float(hypothesis[4 * t + 3]);
  return plane;
}

__device__ bool supports(const float (&p)[3], const Rounded& plane, float threshold) {
  const float distance = ((plane.n[0] * p[0] + plane.n[1] * p[1]) + plane.n[2] * p[2]) + plane.d;
  return std::abs(distance) < threshold;
}

/// Points pass through shared memory a tile at a time, hypotheses stay in registers.
__global__ void score_kernel(Pointer<const float> xyz, Pointer<const double> hypothesis,
                             Pointer<std::int32_t> count, std::int64_t N, std::int64_t T,
                             float threshold) {
  __shared__ Shared<float[3 * kPoints]> tile;
  const std::int64_t first = std::int64_t(blockIdx.x) * kScorers * kEach + threadIdx.x;
  Rounded plane[kEach];
  std::int32_t supporters[kEach] = {};
  for (int e = 0; e < kEach; ++e) {
    const std::int64_t t = first + e * kScorers;
    plane[e] = rounded(hypothesis, t < T ? t : T - 1);
  }
  for (std::int64_t at = std::int64_t(blockIdx.y) * kPoints; at < N;
       at += std::int64_t(gridDim.y) * kPoints) {
    const int points = int(N - at < kPoints ? N - at : kPoints);
    __syncthreads();  // who still reads the tile before
    for (int i = int(threadIdx.x); i < 3 * points; i += kScorers) tile[i] = xyz[3 * at + i];
    __syncthreads();
    for (int i = 0; i < points; ++i) {
      const float p[3] = {tile[3 * i], tile[3 * i + 1], tile[3 * i + 2]};
      for (int e = 0; e < kEach; ++e) supporters[e] += supports(p, plane[e], threshold);
    }
  }
  for (int e = 0; e < kEach; ++e) {
    const std::int64_t t = first + e * kScorers;
    if (t < T && supporters[e] > 0) atomicAdd(count + t, supporters[e]);
  }
}

/// Sums over the threads of a block, in its thread 0; `warps` is in shared memory.
template <int n>
__device__ void sum_block(double (&sum)[n], Pointer<double> warps) {
  const unsigned lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  for (int k = 0; k < n; ++k) {
    for (int step = kLanes / 2; step > 0; step /= 2)
      sum[k] += __shfl_down_sync(kAll, sum[k], unsigned(step));
    if (lane == 0) warps[n * warp + k] = sum[k];
  }
  __syncthreads();
  for (int k = 0; threadIdx.x == 0 && k < n; ++k)
    for (int w = 1; w < kSummers / kLanes; ++w) sum[k] += warps[n * w + k];
}

/// The earliest of the best supported hypotheses, or -1; in every thread.
__device__ std::int32_t best_of(Pointer<const std::int32_t> count, std::int64_t T,
                                Pointer<std::uint64_t> warps) {
  std::uint64_t best = 0;
  const auto keep = [&](std::uint64_t other) { best = other > best ? other : best; };
  for (std::int64_t t = threadIdx.x; t < T; t += kSummers)
    keep(std::uint64_t(count[t] + 1) << 32 | (0xffffffffu - std::uint32_t(t)));
  for (int step = kLanes / 2; step > 0; step /= 2) keep(__shfl_xor_sync(kAll, best, step));
  if (threadIdx.x % kLanes == 0) warps[threadIdx.x / kLanes] = best;
  __syncthreads();
  for (int w = 0; w < kSummers / kLanes; ++w) keep(warps[w]);
  return best >> 32 == 0 ? -1 : std::int32_t(0xffffffffu - std::uint32_t(best));
}

/// Calls `add(point)` for this thread's supporters of a hypothesis.
template <class F>
__device__ void each_supporter(Pointer<const float> xyz, Pointer<const double> hypothesis,
                               std::int32_t t, std::int64_t N, float threshold, F&& add) {
  if (t < 0) return;
  const Rounded plane = rounded(hypothesis, t);
  const std::int64_t stride = std::int64_t(gridDim.x) * kSummers;
  for (std::int64_t n = std::int64_t(blockIdx.x) * kSummers + threadIdx.x; n < N; n += stride) {
    const float p[3] = {xyz[3 * n], xyz[3 * n + 1], xyz[3 * n + 2]};
    if (supports(p, plane, threshold)) add(p);
  }
}

/// Each block finds the best hypothesis, rather than that a launch does.
__global__ void mean_kernel(Pointer<const float> xyz, Pointer<const double> hypothesis,
                            Pointer<std::int32_t> count, Pointer<double> part, std::int64_t N,
                            std::int64_t T, float threshold) {
  __shared__ Shared<std::uint64_t[kSummers / kLanes]> keys;
  __shared__ Shared<double[4 * kSummers / kLanes]> warps;
  const std::int32_t best = best_of(count, T, keys);
  double sum[4] = {};
  each_supporter(xyz, hypothesis, best, N, threshold, [&](const float (&p)[3]) {
    sum[0] += 1;
    for (int k = 0; k < 3; ++k) sum[1 + k] += p[k];
  });
  sum_block(sum, warps);
  if (threadIdx.x > 0) return;
  for (int k = 0; k < 4; ++k) part[kSums * std::int64_t(blockIdx.x) + k] = sum[k];
  if (blockIdx.x == 0) count[T] = best;
}

/// One of the sums, over all blocks of the launch that wrote `part`.
__device__ double total_of(Pointer<const double> part, int which, std::int64_t blocks) {
  double sum = 0;
  for (std::int64_t b = 0; b < blocks; ++b) sum += part[kSums * b + which];
  return sum;
}

__global__ void spread_kernel(Pointer<const float> xyz, Pointer<const double> hypothesis,
                              Pointer<const std::int32_t> count, Pointer<double> part,
                              std::int64_t N, std::int64_t T, float threshold) {
  __shared__ Shared<double[4]> total;
  __shared__ Shared<double[6 * kSummers / kLanes]> warps;
  if (threadIdx.x < 4) total[threadIdx.x] = total_of(part, int(threadIdx.x), gridDim.x);
  __syncthreads();
  const double mean[3] = {total[1] / total[0], total[2] / total[0], total[3] / total[0]};
  double sum[6] = {};
  each_supporter(xyz, hypothesis, count[T], N, threshold, [&](const float (&p)[3]) {
    const double x = p[0] - mean[0], y = p[1] - mean[1], z = p[2] - mean[2];
    sum[0] += x * x;
    sum[1] += x * y;
    sum[2] += x * z;
    sum[3] += y * y;
    sum[4] += y * z;
    sum[5] += z * z;
  });
  sum_block(sum, warps);
  for (int k = 0; threadIdx.x == 0 && k < 6; ++k)
    part[kSums * std::int64_t(blockIdx.x) + 4 + k] = sum[k];
}

/// A warp: a lane adds up one of the sums.
__global__ void refit_kernel(Pointer<const double> hypothesis, Pointer<const std::int32_t> count,
                             Pointer<const double> part, Pointer<double> plane,
                             Pointer<std::int64_t> support, std::int64_t T, std::int64_t blocks) {
  const int lane = int(threadIdx.x);
  const double own = lane < kSums ? total_of(part, lane, blocks) : 0;
  double sum[kSums];
  for (int k = 0; k < kSums; ++k) sum[k] = __shfl_sync(kAll, own, k);
  if (lane > 0) return;
  const std::int32_t best = count[T];
  if (best < 0) {
    for (int k = 0; k < 4; ++k) plane[k] = 0;
    support[0] = 0;
    return;
  }
  const double mean[3] = {sum[1] / sum[0], sum[2] / sum[0], sum[3] / sum[0]};
  double a[3][3] = {{sum[4], sum[5], sum[6]}, {sum[5], sum[7], sum[8]}, {sum[6], sum[8], sum[9]}};
  const Fit f = plane_through(mean, a);
  for (int k = 0; k < 3; ++k)
    plane[k] = f.ok ? f.n[k] : double(hypothesis[4 * std::int64_t(best) + k]);
  plane[3] = f.ok ? f.d : double(hypothesis[4 * std::int64_t(best) + 3]);
  support[0] = count[best];
}

}  // namespace

template <>
void plane<Cuda>(const Plane& p, void* stream) {
  if (p.T > 0) {
    const std::int64_t tiles = pieces(p.N, kPoints);
    const dim3 scorers(unsigned(pieces(p.T, kScorers * kEach)),
                       unsigned(tiles < kMostTiles ? tiles : kMostTiles));
    launch("plane: hypothesis_kernel", hypothesis_kernel, unsigned(pieces(p.T, kRows)),
           dim3(kLanes, kRows), 0, stream, p.xyz, p.hypothesis, p.count, p.N, p.S, p.T,
           hash64(p.seed));
    launch("plane: score_kernel", score_kernel, scorers, kScorers, 0, stream, p.xyz, p.hypothesis,
           p.count, p.N, p.T, p.threshold);
  }
  const std::int64_t most = pieces(p.N, kSummers);
  const std::int64_t blocks = most < kPlaneParts ? most : kPlaneParts;
  launch("plane: mean_kernel", mean_kernel, unsigned(blocks), kSummers, 0, stream, p.xyz,
         p.hypothesis, p.count, p.part, p.N, p.T, p.threshold);
  launch("plane: spread_kernel", spread_kernel, unsigned(blocks), kSummers, 0, stream, p.xyz,
         p.hypothesis, p.count, p.part, p.N, p.T, p.threshold);
  launch("plane: refit_kernel", refit_kernel, 1, kLanes, 0, stream, p.hypothesis, p.count, p.part,
         p.plane, p.support, p.T, blocks);
}

}  // namespace cmad
