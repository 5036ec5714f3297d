#include <cstdint>
#include <cstring>
#include <limits>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/fps.h"
#include "ops/fps_order.h"

namespace cmad {
namespace {

constexpr int kLanes = 32;
constexpr int kMostThreads = 1024;
constexpr unsigned kAll = 0xffffffffu;
constexpr float kFar = std::numeric_limits<float>::infinity();
constexpr float kSkipped = -1;  // below every distance
constexpr unsigned kUnknown = std::numeric_limits<std::int32_t>::max();

/// The bits of a distance, or of kSkipped, as a number that orders in the same way.
__device__ int ordered(float d2) {
  int bits;
  std::memcpy(&bits, &d2, sizeof bits);
  return bits;
}

/// Which point is farthest from the picks, of those seen; at first none.
struct Farthest {
  int distance = std::numeric_limits<int>::min();
  unsigned rank = kUnknown;
  float at[3] = {};

  __device__ void see(float d2, unsigned of_rank, const float (&point)[3]) {
    const int d = ordered(d2);
    if (d < distance || (d == distance && of_rank > rank)) return;
    distance = d;
    rank = of_rank;
    for (int k = 0; k < 3; ++k) at[k] = point[k];
  }
};

/// Of what the lanes of a warp have seen; each gets it.
__device__ Farthest farthest(const Farthest& mine) {
  Farthest all;
  all.distance = __reduce_max_sync(kAll, mine.distance);
  const bool equal = mine.distance == all.distance;
  all.rank = __reduce_min_sync(kAll, equal ? mine.rank : kUnknown);
  const int lane = __ffs(int(__ballot_sync(kAll, equal && mine.rank == all.rank))) - 1;
  for (int k = 0; k < 3; ++k) all.at[k] = __shfl_sync(kAll, mine.at[k], lane);
  return all;
}

/// A block has a cloud.
__global__ void __launch_bounds__(kMostThreads)
    fps_kernel(Pointer<const float> xyz, Pointer<const std::int64_t> ptr, Pointer<float> nearest,
               Pointer<std::int64_t> index, std::int64_t K, bool published_ties, double skip) {
  __shared__ Shared<int[2][kLanes]> distance;
  __shared__ Shared<unsigned[2][kLanes]> rank;
  __shared__ Shared<float[2][3 * kLanes]> at;
  const std::int64_t b = blockIdx.x, first = ptr[b], N = ptr[b + 1] - first;
  const int t = int(threadIdx.x), lane = t % kLanes, warp = t / kLanes;
  const int warps = int(blockDim.x) / kLanes;
  const FpsOrder order(N, published_ties);
  float here[3] = {xyz[3 * first], xyz[3 * first + 1], xyz[3 * first + 2]};
  if (t == 0) index[b * K] = 0;
  for (std::int64_t k = 1; k < K; ++k) {
    Farthest mine;
    for (std::int64_t n = t; n < N; n += blockDim.x) {
      float point[3];
      for (int i = 0; i < 3; ++i) point[i] = xyz[3 * (first + n) + i];
      float d2 = dist2(point, here), before = kFar;
      if (k > 1)
        before = nearest[first + n];
      else if (skip >= 0 &&
               double((point[0] * point[0] + point[1] * point[1]) + point[2] * point[2]) <= skip)
        before = kSkipped;
      if (!(d2 < before)) d2 = before;
      nearest[first + n] = d2;
      mine.see(d2, unsigned(order.rank(n)), point);
    }
    const Farthest of_warp = farthest(mine);
    const int turn = int(k % 2);  // who still reads what was written the turn before
    if (lane == 0) {
      distance[turn][warp] = of_warp.distance;
      rank[turn][warp] = of_warp.rank;
      for (int i = 0; i < 3; ++i) at[turn][3 * warp + i] = of_warp.at[i];
    }
    __syncthreads();
    Farthest of_lane;
    if (lane < warps) {
      of_lane.distance = distance[turn][lane];
      of_lane.rank = rank[turn][lane];
      for (int i = 0; i < 3; ++i) of_lane.at[i] = at[turn][3 * lane + i];
    }
    const Farthest pick = farthest(of_lane);
    for (int i = 0; i < 3; ++i) here[i] = pick.at[i];
    if (t == 0) index[b * K + k] = pick.distance < 0 ? 0 : order.point(std::int64_t(pick.rank));
  }
}

}  // namespace

template <>
void fps<Cuda>(const Fps& p, void* stream) {
  if (p.B == 0) return;
  const std::int64_t warps = pieces(p.N, kLanes * kLanes);
  const std::int64_t threads = kLanes * (warps < kLanes ? warps : kLanes);
  launch("fps", fps_kernel, unsigned(p.B), unsigned(threads), 0, stream, p.xyz, p.ptr, p.moved,
         p.index, p.K, p.published_ties, p.skip);
}

}  // namespace cmad
