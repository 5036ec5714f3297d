#pragma once

#include "ops/knn_list.cuh"

// Every row is measured: for few queries, where reading the bank once is all there is to do.
//
// A block has 4 queries and a part of the bank. Half a warp measures 4 rows from the 4 queries
// at once, a lane of it every 16th column of these 16 pairs; then a warp for each query puts the 32
// new distances into its list, which its lanes hold. A second kernel joins the lists of the parts.

namespace cmad {

constexpr int kQueries = 4, kRowsAtOnce = 4, kPairs = kQueries * kRowsAtOnce;
constexpr int kMeasureThreads = 32 * kQueries;
constexpr int kRoundRows = kMeasureThreads / kLanes * kRowsAtOnce;

/// Half of the sums of a lane go to the lane that has the other half of their addends.
template <int kept>
__device__ void share(double (&sum)[kPairs], int lane, int other) {
  for (int i = 0; i < kept; ++i) {
    const bool upper = (lane & other) != 0;
    const double mine = upper ? sum[kept + i] : sum[i];
    const double theirs = upper ? sum[i] : sum[kept + i];
    sum[i] = mine + __shfl_xor_sync(kAllLanes, theirs, other);
  }
}

template <class R>
__global__ void measure_kernel(Pointer<const float> query, R row, Pointer<double> distance,
                               Pointer<std::int64_t> index, Pointer<double> part_distance,
                               Pointer<std::int64_t> part_index, std::int64_t Q, std::int64_t M,
                               std::int64_t D, int K, std::int64_t first) {
  __shared__ Shared<double[kQueries][kRoundRows]> fresh;
  const int t = int(threadIdx.x), lane = t % kLanes, half = t / kLanes;
  const int warp = t / 32, warp_lane = t % 32;
  const std::int64_t begin = std::int64_t(blockIdx.x) * kQueries;
  const std::int64_t part = blockIdx.y, parts = gridDim.y, each = pieces(M, parts);
  const std::int64_t from = part * each, end = from + each < M ? from + each : M;
  const std::int64_t mine = begin + warp < Q ? begin + warp : Q - 1;

  // Beginning with the last of the list so far: what is not nearer is not wanted.
  Nearest list = load(distance + mine * K + K - 1, index + mine * K + K - 1, 1, warp_lane);
  for (std::int64_t base = from; base < end; base += kRoundRows) {
    const std::int64_t m = base + half * kRowsAtOnce;
    double sum[kPairs] = {};
    for (std::int64_t d = lane; d < D; d += kLanes) {
      double q[kQueries];
      for (int j = 0; j < kQueries; ++j)
        q[j] = double(query[(begin + j < Q ? begin + j : Q - 1) * D + d]);
      for (int i = 0; i < kRowsAtOnce; ++i) {
        const double r = double(row((m + i < M ? m + i : M - 1) * D + d));
        for (int j = 0; j < kQueries; ++j) {
          const double e = q[j] - r;
          sum[kQueries * i + j] += e * e;
        }
      }
    }
    share<8>(sum, lane, 8);
    share<4>(sum, lane, 4);
    share<2>(sum, lane, 2);
    share<1>(sum, lane, 1);
    // Bits of the lane name the sum that it was left with, the highest first.
    fresh[lane % kQueries][half * kRowsAtOnce + lane / kQueries] = sum[0];
    __syncthreads();
    const bool there = base + warp_lane < end;
    const double d2 = there ? fresh[warp][warp_lane] : INFINITY;
    list.add_of_lanes(d2, there ? first + base + warp_lane : INT64_MAX, K, warp_lane);
    __syncthreads();  // before new distances are written
  }
  if (begin + warp >= Q) return;
  const std::int64_t to = (mine * parts + part) * kMostK;
  store(list, part_distance + to, part_index + to, kMostK, warp_lane);
}

/// A warp has a query.
__global__ void __launch_bounds__(128)
    join_kernel(Pointer<double> distance, Pointer<std::int64_t> index,
                Pointer<double> part_distance, Pointer<std::int64_t> part_index,
                Pointer<bool> given_up, std::int64_t Q, int parts, int K) {
  const int lane = int(threadIdx.x) % 32;
  const std::int64_t q = std::int64_t(blockIdx.x) * 4 + threadIdx.x / 32;
  if (q >= Q) return;
  Nearest list = load(distance + q * K, index + q * K, K, lane);
  for (int part = 0; part < parts; ++part) {
    const std::int64_t at = (q * parts + part) * kMostK;
    const Nearest other = load(part_distance + at, part_index + at, kMostK, lane);
    list.add_of_lanes(other.distance, other.index, K, lane);
  }
  store(list, distance + q * K, index + q * K, K, lane);
  if (lane == 0) given_up[q] = false;
}

}  // namespace cmad
