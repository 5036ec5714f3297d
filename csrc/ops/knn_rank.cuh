#pragma once

#include "ops/knn_scan.cuh"

// Measures the rows that the scan has kept, and where these do not suffice all others that may be
// near enough.

namespace cmad {

constexpr int kRankWarps = 4, kMostParts = 128, kRescanThreads = 256;

/// A warp has a query: it takes from the parts' lists the row with the least key, a row for each of
/// its halves, until the keys say that all others are farther than the k-th.
template <class R>
__global__ void __launch_bounds__(32 * kRankWarps)
    rank_kernel(Pointer<const float> query, R row, Pointer<const double> query_number,
                Pointer<const std::int64_t> part_index, Pointer<double> distance,
                Pointer<std::int64_t> index, Pointer<bool> given_up, std::int64_t Q, std::int64_t D,
                int K, int parts, std::int64_t first, double scale) {
  __shared__ Shared<std::uint64_t[kRankWarps][kMostParts]> head;  // the first of a list not taken
  __shared__ Shared<int[kRankWarps][kMostParts]> taken;
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const std::int64_t q = std::int64_t(blockIdx.x) * kRankWarps + warp;
  if (q >= Q) return;
  const Pointer<const std::int64_t> lists = part_index + q * parts * kKept;
  for (int p = lane; p < parts; p += 32) {  // a lane keeps to its parts
    head[warp][p] = std::uint64_t(lists[p * kKept]);
    taken[warp][p] = 0;
  }
  const double radius = query_number[q * kNumbers + 1];
  Nearest list = load(distance + q * K, index + q * K, K, lane);
  while (true) {
    std::uint64_t least[2];
    for (int h = 0; h < 2; ++h) {
      std::uint64_t own = kNoRow;
      int from = 0;
      for (int p = lane; p < parts; p += 32) {
        const std::uint64_t other = head[warp][p];
        if (other < own) from = p;
        own = less(own, other);
      }
      least[h] = own;
      for (int lanes = 16; lanes > 0; lanes /= 2)
        least[h] = less(least[h], __shfl_xor_sync(kAllLanes, least[h], lanes));
      if (own != least[h] || own == kNoRow) continue;
      const int next = taken[warp][from] + 1;
      taken[warp][from] = next;
      head[warp][from] = next < kKept ? std::uint64_t(lists[from * kKept + next]) : kNoRow;
    }
    const double limit = key_limit(list.worst(K), scale, radius);
    if (least[0] == kNoRow || double(key_dist2(least[0])) > limit) break;
    const std::uint64_t mine = lane < kLanes ? least[0] : least[1];
    const std::int64_t m = mine == kNoRow ? 0 : key_index(mine);
    const double d2 = distance2(query + q * D, row, m, D, lane % kLanes);
    const bool add = lane % kLanes == 0 && mine != kNoRow;
    list.add_of_lanes(add ? d2 : INFINITY, add ? first + m : INT64_MAX, K, lane);
  }
  store(list, distance + q * K, index + q * K, K, lane);
  if (lane == 0) given_up[q] = false;
}

/// A block has a query, and looks again at the parts of which a row that was not kept may be near
/// enough. A thread has a row's product; half a warp measures a row, those of the list once more:
/// the scan compared without roots, so that keys alone do not tell which rows it has kept.
template <class R>
__global__ void __launch_bounds__(kRescanThreads)
    rescan_kernel(Pointer<const float> query, R row, Pointer<const unsigned> code,
                  Pointer<const float> bound, Pointer<const unsigned> query_code,
                  Pointer<const double> query_number, Pointer<const std::int64_t> part_index,
                  Pointer<double> distance, Pointer<std::int64_t> index, std::int64_t M,
                  std::int64_t D, std::int64_t C, int K, int parts, std::int64_t first,
                  double scale) {
  __shared__ Shared<std::int64_t[kRescanThreads]> found;
  __shared__ Shared<double[kRescanThreads]> fresh;
  __shared__ Shared<int> count;
  __shared__ Shared<double> limit;
  const int t = int(threadIdx.x), lane = t % 32, half = t / kLanes;
  const std::int64_t q = blockIdx.x, words = C / 4;
  const Side side = side_of(query_number + q * kNumbers);
  const double radius = query_number[q * kNumbers + 1];
  const Pointer<const unsigned> mine = query_code + q / kPanel * kPanel * words + q % kPanel;
  double most = key_limit(distance[q * K + K - 1], scale, radius);
  Nearest list = load(distance + q * K, index + q * K, K, lane);  // the first warp's counts
  if (t == 0) count = 0;
  __syncthreads();

  for (int part = 0; part < parts; ++part) {
    const auto last = std::uint64_t(part_index[(q * parts + part) * kKept + kKept - 1]);
    if (last == kNoRow || double(key_dist2(last)) > most) continue;
    for (std::int64_t tile = part; tile * kSide < M; tile += 2 * parts) {
      const std::int64_t m = (tile + t / kSide * parts) * kSide + t % kSide;
      if (m < M) {
        const Pointer<const unsigned> its = code + m / kPanel * kPanel * words + m % kPanel;
        const Pointer<const float> b = bound + m / 64 * 4 * 64 + m % 64;
        int dot = 0;
        for (std::int64_t w = 0; w < words; ++w) dot = dot4(its[kPanel * w], mine[kPanel * w], dot);
        const float key = key_of(side, at_least(side, b[0], b[128], b[192], dot), b[64]);
        if (double(key) <= most) found[atomicAdd(&count, 1)] = m;
      }
      __syncthreads();
      const int n = count;
      for (int i = half; i - half < n; i += kRescanThreads / kLanes) {
        const double d2 = distance2(query + q * D, row, found[i < n ? i : 0], D, t % kLanes);
        if (i < n && t % kLanes == 0) fresh[i] = d2;
      }
      __syncthreads();
      if (t < 32) {
        for (int i = lane; i - lane < n; i += 32)
          list.add_of_lanes(i < n ? double(fresh[i]) : INFINITY,
                            i < n ? first + found[i] : INT64_MAX, K, lane);
        const double kth = list.worst(K);
        if (t == 0) {
          limit = key_limit(kth, scale, radius);
          count = 0;
        }
      }
      __syncthreads();
      most = limit;
    }
  }
  if (t < 32) store(list, distance + q * K, index + q * K, K, lane);
}

}  // namespace cmad
