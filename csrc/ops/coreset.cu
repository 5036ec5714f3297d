#include <cmath>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/coreset.h"

// A launch per pick: launches of a stream follow each other, so that no block waits for another and
// the host reads nothing. Each measures every row from the pick before, and a block proposes the
// farthest of its rows; the next launch begins with the farthest of the proposals, which every
// block finds for itself. Proposals alternate between two places, as slower blocks of the same
// launch still read the last ones.
//
// A thread has a row, and the 16 lanes of its distance in registers. Rows come through shared
// memory, 32 columns of a block's 128 rows at a time, so that warps read whole lines. All rows are
// read once per pick, 4 M D bytes, which bounds the time.

namespace cmad {
namespace {

constexpr int kRows = 128, kColumns = 32, kLanes = 16;
constexpr int kStride = kColumns + 1;      // rows of the tile begin in different banks
constexpr std::int64_t kMostBlocks = 528;  // 4 on each of 132 processors
constexpr std::int64_t kLast = 0xfffffffe;
constexpr float kPicked = -INFINITY;

/// Orders by distance, then by the lowest index; 0, below all others, for a row that was picked.
__device__ std::uint64_t farthest_key(float d2, std::int64_t m) {
  return d2 == kPicked ? 0 : nearest_key(d2, kLast - m);
}

/// Of the lanes of the first warp, which alone calls it.
__device__ std::uint64_t largest(std::uint64_t key) {
  for (int lane = 16; lane > 0; lane /= 2) {
    const std::uint64_t other = __shfl_xor_sync(0xffffffffu, key, lane);
    key = other > key ? other : key;
  }
  return key;
}

__device__ float total(float (&lane)[kLanes]) {
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

/// Pick n - 1 is known in the first launch, and found by all others; `last` only writes it down.
__global__ void __launch_bounds__(kRows)
    coreset_kernel(Pointer<const float> row, Pointer<std::int64_t> index, Pointer<float> bound,
                   Pointer<std::int64_t> proposal, std::int64_t M, std::int64_t D, std::int64_t n,
                   int blocks, bool first, bool last) {
  __shared__ Shared<float[kRows * kStride]> tile;
  __shared__ Shared<float[kColumns]> there;
  __shared__ Shared<std::uint64_t[kRows]> key;
  __shared__ Shared<std::int64_t> picked;
  const int t = int(threadIdx.x);
  const std::int64_t now = n % 2 * blocks, before = blocks - now;

  std::uint64_t best = 0;
  if (first) {
    if (t == 0) picked = index[n - 1];
  } else if (t < 32) {
    for (int b = t; b < blocks; b += 32) {
      const std::int64_t proposed = proposal[before + b];
      best = std::uint64_t(proposed) > best ? std::uint64_t(proposed) : best;
    }
    best = largest(best);
    if (t == 0) picked = kLast - key_index(best);
    if (t == 0 && blockIdx.x == 0) index[n - 1] = kLast - key_index(best);
  }
  if (last) return;
  __syncthreads();
  const std::int64_t pick = picked;

  best = 0;
  for (std::int64_t begin = std::int64_t(blockIdx.x) * kRows; begin < M;
       begin += std::int64_t(blocks) * kRows) {
    float lane[kLanes] = {};
    for (std::int64_t from = 0; from < D; from += kColumns) {
      const int columns = int(D - from < kColumns ? D - from : kColumns), c = t % kColumns;
      for (int r = t / kColumns; r < kRows && begin + r < M && c < columns; r += kRows / kColumns)
        tile[r * kStride + c] = row[(begin + r) * D + from + c];
      if (t < columns) there[t] = row[pick * D + from + t];
      __syncthreads();
      for (int i = 0; i < kColumns; ++i)
        if (i < columns && begin + t < M) {
          const float e = tile[t * kStride + i] - there[i];
          lane[i % kLanes] += e * e;
        }
      __syncthreads();  // before the tile is filled again
    }
    const std::int64_t m = begin + t;
    if (m >= M) continue;
    const float sum = total(lane), d2 = std::isnan(sum) ? 0 : sum, known = bound[m];
    const float least = m == pick ? kPicked : d2 < known ? d2 : known;
    bound[m] = least;
    const std::uint64_t here = farthest_key(least, m);
    best = here > best ? here : best;
  }
  key[t] = best;
  __syncthreads();
  if (t >= 32) return;
  for (int i = t; i < kRows; i += 32) {
    const std::uint64_t other = key[i];
    best = other > best ? other : best;
  }
  best = largest(best);
  if (t == 0) proposal[now + blockIdx.x] = std::int64_t(best);
}

}  // namespace

template <>
void coreset<Cuda>(const Coreset& p, void* stream) {
  const std::int64_t needed = pieces(p.M, kRows);
  const int blocks = int(needed < kMostBlocks ? needed : kMostBlocks);
  for (std::int64_t n = p.begin; n <= p.end && p.begin < p.end; ++n) {
    const bool last = n == p.end;
    launch("coreset_kernel", coreset_kernel, last ? 1u : unsigned(blocks), kRows, 0, stream, p.row,
           p.index, p.bound, p.active, p.M, p.D, n, blocks, n == p.begin, last);
  }
}

}  // namespace cmad
