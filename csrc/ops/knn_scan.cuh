#pragma once

#include "core/math.h"
#include "core/mma.cuh"
#include "ops/knn_encode.cuh"

// A block multiplies the codes of 128 queries by those of a part of the bank, 128 rows at a time.
// From a product and the bounds of both sides follows the least distance that the two may have, the
// row's key. Of each query the 32 rows with the least keys are kept; those that are not have keys
// above the last of them, which is how knn_rank.cuh knows whether any other has to be measured.
//
// A warp has 64 rows by 32 queries. In shared memory: two stages of 64 columns of the 8-bit codes,
// one being multiplied, one on its way; the lists; and what threads found since a list was sorted,
// up to 24 rows per query. A thread whose query has no place left tries again when a warp has put
// these into the list, which also makes most of them too far.
//
// Codes come as [16 rows][4 columns]: 16 bytes have 4 columns of 4 rows, a register of 4 products.
// So which row or query is which of a product's differs from the usual: see `row_of`, `query_of`.

namespace cmad {

constexpr int kSide = 128, kPanel = 16;    // queries and rows of a block; of a panel of codes
constexpr int kWords = 16;                 // of 4 columns, in a stage
constexpr int kKept = 32;                  // rows of a list
constexpr int kPlaces = 24, kSorted = 12;  // found rows; so many are worth sorting
constexpr int kScanThreads = 256, kWarps = 8;
constexpr std::uint64_t kNoRow = ~std::uint64_t(0);
constexpr int kOperand = kSide * kWords * 4, kStage = 2 * kOperand;  // bytes
constexpr int kListsAt = 2 * kStage, kFoundAt = kListsAt + kSide * kKept * 8;
constexpr int kScanBytes = kFoundAt + kSide * kPlaces * 8;

/// What is the same for all rows.
struct Side {
  float step2, rest2;  // twice the query's
  float norm2;         // of the query, less what rounding may add
  int offset;          // 128 times the sum of its codes, which the rows' codes added
};
__device__ inline Side side_of(Pointer<const double> number) {
  const double norm2 = number[0];
  return {float(2 * number[3]), float(2 * number[2]), float(norm2 - 2e-6 * norm2 - 1e-36),
          int(128 * number[4])};
}

/// The distance of the codes, squared, less the query's own part, and less what rounding may add.
__device__ inline float at_least(const Side& q, float base, float rest, float step, int dot) {
  const float product = float(dot - q.offset) * step;
  return base - q.rest2 * rest - q.step2 * product;
}
/// A row is at least so far, in scaled units, less the query's radius. 0 where nothing is known.
__device__ inline float key_of(const Side& q, float least, float radius) {
  if (!(q.norm2 < float(kLongest2))) return 0;
  const float squares = (least + q.norm2) + radius * radius * 0.999996f;
  const float key = (squares > 0 ? std::sqrt(squares) : 0) * 0.999999f - radius;
  return key > 0 ? key : 0;
}
/// Rows with keys above it are farther than the k-th.
__device__ inline double key_limit(double kth, double scale, double radius) {
  return std::sqrt(kth) * scale * (1 + 1e-6) + radius;
}

/// Tells without a root which rows have keys up to a limit, and few others: those for which not
/// at_least - reach * radius > limit.
struct Aim {
  float reach, limit;
};
__device__ inline Aim aim(double T, double norm2) {
  const double most = T * T - norm2 + 2e-6 * (T * T + norm2) + 1e-36;
  if (!(norm2 < kLongest2 && T * T < kLongest2)) return {0, INFINITY};
  return {float(2 * T * (1 + 1e-6)), float(most)};
}

__device__ inline std::uint64_t less(std::uint64_t a, std::uint64_t b) { return b < a ? b : a; }
__device__ inline std::uint64_t more(std::uint64_t a, std::uint64_t b) { return b < a ? a : b; }

/// Keys of a list and found ones, sorted, into the list.
__device__ inline std::uint64_t merged(std::uint64_t list, std::uint64_t found, int lane) {
  for (int size = 2; size <= 32; size *= 2)
    for (int stride = size / 2; stride > 0; stride /= 2) {
      const std::uint64_t other = __shfl_xor_sync(kAllLanes, found, stride);
      const bool descending = (lane & size) == 0, lower = (lane & stride) == 0;
      found = descending == lower ? more(found, other) : less(found, other);
    }
  list = less(list, found);
  for (int stride = 16; stride > 0; stride /= 2) {
    const std::uint64_t other = __shfl_xor_sync(kAllLanes, list, stride);
    list = (lane & stride) == 0 ? less(list, other) : more(list, other);
  }
  return list;
}

/// Begins to copy 64 columns of 8 panels. Of the columns' words those of 2 and 3, 6 and 7 and so on
/// have their rows in another order, so that the lanes that read together find different banks.
__device__ inline void copy_stage(int at, Pointer<const std::uint8_t> code, std::int64_t panel,
                                  std::int64_t panels, std::int64_t C, std::int64_t column) {
  for (int i = int(threadIdx.x); i < kSide / kPanel * kWords * 4; i += kScanThreads) {
    const int p = i / (kWords * 4), word = i / 4 % kWords, four = i % 4;
    const bool there = panel + p < panels && column + 4 * word < C;
    const std::int64_t from = ((panel + p) * C + column + 4 * word) * kPanel + 16 * four;
    const int to = (p * kWords + word) * 4 + (four ^ (word & 2));
    cp_async_16(dynamic_shared<std::uint8_t>(std::size_t(at + 16 * to)), code + (there ? from : 0),
                there);
  }
}

/// Four columns of four rows, for lane r = l / 4, c = l % 4: rows 4 r to 4 r + 3 of two panels.
__device__ inline void load_words(unsigned (&to)[4], int at, int panel, int word, int r) {
  const int four = (r % 4) ^ (word & 2), i = ((panel + r / 4) * kWords + word) * 4 + four;
  const Pointer<const unsigned> from = dynamic_shared<unsigned>(std::size_t(at + 16 * i));
  for (int w = 0; w < 4; ++w) to[w] = from[w];
}

/// Products of a warp's 64 rows and 32 queries: of lane r, c, [2 u + v][j][2 b + e] is for row
/// 32 u + 4 r + 2 v + b and query 8 c + 4 e + j.
using Products = int[4][4][4];

__device__ inline void multiply_stage(Products& sum, int at, int warp, int lane) {
  const int r = lane / 4, c = lane % 4;
  for (int k = 0; k < kWords; k += 8) {
    unsigned rows[2][2][4], queries[2][4];  // [half of the columns]
    for (int h = 0; h < 2; ++h) {
      for (int u = 0; u < 2; ++u)
        load_words(rows[u][h], at, warp / 4 * 4 + 2 * u, k + 4 * h + c, r);
      load_words(queries[h], at + kOperand, warp % 4 * 2, k + 4 * h + c, r);
    }
    for (int u = 0; u < 2; ++u)
      for (int v = 0; v < 2; ++v) {
        const unsigned a[4] = {rows[u][0][2 * v], rows[u][0][2 * v + 1], rows[u][1][2 * v],
                               rows[u][1][2 * v + 1]};
        for (int j = 0; j < 4; ++j)
          mma_m16n8k32(sum[2 * u + v][j], a, queries[0][j], queries[1][j]);
      }
  }
}

__global__ void __launch_bounds__(kScanThreads, 2)
    scan_kernel(Pointer<const std::uint8_t> code, Pointer<const float> bound,
                Pointer<const std::uint8_t> query_code, Pointer<const double> query_number,
                Pointer<const double> distance, Pointer<std::int64_t> part_index, std::int64_t Q,
                std::int64_t M, std::int64_t C, int K, double scale) {
  __shared__ Shared<float[5 * kSide]> sides;  // step2, rest2, norm2, reach, limit
  __shared__ Shared<int[kSide]> offset;
  __shared__ Shared<int[kSide]> count;
  __shared__ Shared<int[2]> again;
  const auto list = dynamic_shared<std::uint64_t>(kListsAt);
  const auto found = dynamic_shared<std::uint64_t>(kFoundAt);
  const int t = int(threadIdx.x), lane = t % 32, warp = t / 32;
  const std::int64_t first = std::int64_t(blockIdx.x) * kSide;
  const std::int64_t part = blockIdx.y, parts = gridDim.y;
  const std::int64_t row_panels = pieces(M, 64) * 4, query_panels = pieces(Q, 64) * 4;
  const std::int64_t tiles = pieces(M, kSide),
                     mine = part < tiles ? pieces(tiles - part, parts) : 0;
  const std::int64_t stages = pieces(C, 4 * kWords), steps = mine * stages;

  for (int i = t; i < kSide * kKept; i += kScanThreads) list[i] = kNoRow;
  if (t < 2) again[t] = 0;
  if (t < kSide) {
    count[t] = 0;
    const std::int64_t q = first + t < Q ? first + t : Q - 1;
    const Side side = side_of(query_number + q * kNumbers);
    const double norm2 = query_number[q * kNumbers], radius = query_number[q * kNumbers + 1];
    const Aim to = aim(key_limit(distance[q * K + K - 1], scale, radius), norm2);
    sides[t] = side.step2;
    sides[kSide + t] = side.rest2;
    sides[2 * kSide + t] = side.norm2;
    sides[3 * kSide + t] = to.reach;
    sides[4 * kSide + t] = to.limit;
    offset[t] = side.offset;
  }

  const auto begin_copy = [&](std::int64_t step) {
    const std::int64_t tile = part + step / stages * parts, column = step % stages * 4 * kWords;
    const int at = int(step % 2) * kStage;
    copy_stage(at, code, tile * kSide / kPanel, row_panels, C, column);
    copy_stage(at + kOperand, query_code, first / kPanel, query_panels, C, column);
    cp_async_commit();
  };
  /// Puts what was found into the lists, where there is much of it or `all`.
  const auto sort_found = [&](bool all) {
    for (int q = warp; q < kSide; q += kWarps) {
      const int n = count[q];
      if (n < (all ? 1 : kSorted)) continue;
      const std::uint64_t fresh =
          lane < n && lane < kPlaces ? std::uint64_t(found[q * kPlaces + lane]) : kNoRow;
      const std::uint64_t kept = merged(list[q * kKept + lane], fresh, lane);
      list[q * kKept + lane] = kept;
      const std::uint64_t last = __shfl_sync(kAllLanes, kept, kKept - 1);
      __syncwarp();
      if (lane > 0) continue;
      count[q] = 0;
      if (last == kNoRow) continue;
      const Aim to = aim(key_dist2(last), query_number[(first + q) * kNumbers]);
      sides[3 * kSide + q] = to.reach;
      sides[4 * kSide + q] = to.limit;
    }
  };

  Products sum = {};
  int round = 0;
  if (steps > 0) begin_copy(0);
  for (std::int64_t step = 0; step < steps; ++step) {
    if (step + 1 < steps) {
      begin_copy(step + 1);
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    __syncthreads();
    multiply_stage(sum, int(step % 2) * kStage, warp, lane);
    __syncthreads();  // before the stage is filled again
    if ((step + 1) % stages != 0) continue;

    const std::int64_t tile = part + step / stages * parts;
    const std::int64_t row = tile * kSide + warp / 4 * 64 + lane / 4 * 4;
    const int query = warp % 4 * 32 + lane % 4 * 8;
    std::uint64_t left = ~std::uint64_t(0);  // products to look at
    for (bool more_rounds = true; more_rounds; ++round) {
#pragma unroll
      for (int u = 0; u < 2; ++u) {
        float base[4], radius[4], rest[4], width[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const std::int64_t m = row + 32 * u + i, at = m / 64 * 4 * 64 + m % 64;
          const bool there = m < M;
          base[i] = there ? bound[at] : INFINITY;
          radius[i] = there ? bound[at + 64] : 0;
          rest[i] = there ? bound[at + 128] : 0;
          width[i] = there ? bound[at + 192] : 0;
        }
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const int q = query + j;
          if (first + q >= Q) continue;
          const Side side = {sides[q], sides[kSide + q], sides[2 * kSide + q], offset[q]};
          const float reach = sides[3 * kSide + q], limit = sides[4 * kSide + q];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const std::uint64_t bit = std::uint64_t(1) << (32 * u + 4 * j + i);
            const int dot = sum[2 * u + i / 2][j % 4][2 * (i % 2) + j / 4];
            const float least = at_least(side, base[i], rest[i], width[i], dot);
            const std::int64_t m = row + 32 * u + i;
            if (m >= M || (left & bit) == 0 || least - reach * radius[i] > limit) {
              left &= ~bit;
              continue;
            }
            const int place = atomicAdd(count + q, 1);
            if (place >= kPlaces) continue;
            found[q * kPlaces + place] = nearest_key(key_of(side, least, radius[i]), m);
            left &= ~bit;
          }
        }
      }
      for (int j = 0; j < 8; ++j)  // of queries that there are not
        if (first + query + j >= Q) left &= ~(std::uint64_t(0xf0000000fu) << 4 * j);
      if (left != 0) again[round % 2] = 1;
      __syncthreads();
      more_rounds = again[round % 2] != 0;
      sort_found(false);
      if (t == 0) again[(round + 1) % 2] = 0;
      __syncthreads();
    }
#pragma unroll
    for (auto& products : sum)
      for (auto& four : products)
        for (int& one : four) one = 0;
  }
  sort_found(true);
  for (int q = warp; q < kSide && first + q < Q; q += kWarps)
    part_index[((first + q) * parts + part) * kKept + lane] =
        std::int64_t(std::uint64_t(list[q * kKept + lane]));
}

}  // namespace cmad
