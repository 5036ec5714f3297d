#include "core/launch.cuh"
#include "core/math.h"
#include "ops/count_between.h"

// A thread looks up one score after another: first among at most 2047 pivots in shared memory, of
// which each is as many levels behind the one before, then among the levels between two pivots,
// which are few and side by side. Pivots lie depth by depth of a search tree: in their own order
// lanes at the same depth would all read from one bank. No sort of the scores is needed.
//
// Few levels are counted in shared memory, many where they are. Maps hold runs of one score, such
// as the background's 0: lanes side by side with the same place are counted by the first of them,
// and a warp that goes on finding one place alone remembers how often.

namespace cmad {
namespace {

constexpr int kThreads = 512, kLanes = 32;
constexpr int kStretch = 32 * kLanes;       // successive scores of a warp
constexpr int kDepth = 11;                  // of the tree of pivots, at most
constexpr std::int64_t kFew = 2048;         // levels whose counts fit into shared memory
constexpr std::int64_t kMostBlocks = 4096;  // each plants a tree
constexpr unsigned kAll = 0xffffffffu;
constexpr std::int64_t kNoPlace = -1;  // of a score that is not counted

using Counter = unsigned long long;

/// Levels before pivot r, of 2^depth - 1 counted from 1.
__device__ std::int64_t levels_before(std::int64_t r, std::int64_t M, int depth) {
  return r * M >> depth;
}

/// Node n of a tree has the children 2 n and 2 n + 1. By value: those on the left, then itself.
template <class T>
__device__ void plant(Pointer<const T> level, Pointer<T> tree, std::int64_t M, int depth) {
  for (int n = 1 + int(threadIdx.x); n < 1 << depth; n += kThreads) {
    const int row = 31 - __clz(n), in_row = n - (1 << row);
    tree[n] = level[levels_before((2 * in_row + 1) << (depth - 1 - row), M, depth)];
  }
}

/// Twice a score's interval, and one more if it equals the level of its begin.
template <class T>
__device__ std::int64_t place_of(T score, Pointer<const T> level, Pointer<const T> tree,
                                 std::int64_t M, int depth) {
  int node = 1;
  for (int row = 0; row < depth; ++row) node = 2 * node + int(tree[node] <= score);
  const std::int64_t pivot = node - (1 << depth);  // the last that is not above
  std::int64_t low = pivot == 0 ? 0 : levels_before(pivot, M, depth) + 1;
  std::int64_t high = levels_before(pivot + 1, M, depth);
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (level[middle] <= score)
      low = middle + 1;
    else
      high = middle;
  }
  return 2 * low + std::int64_t(low > 0 && level[low - 1] == score);
}

/// Where places are counted: in shared memory, or with nothing there, in the result.
struct Counts {
  Pointer<unsigned> few;  // [2 M + 2]
  Pointer<Counter> count, tied;
  bool shared;
};

__device__ void add(const Counts& to, std::int64_t place, unsigned times) {
  if (to.shared) {
    atomicAdd(to.few + place, times);
    return;
  }
  atomicAdd(to.count + place / 2, times);
  if (place % 2 == 1) atomicAdd(to.tied + place / 2 - 1, times);
}

/// Of each run of equal places among the lanes the first adds it. Where all lanes have one, it is
/// kept until they have another.
__device__ void add_runs(const Counts& to, std::int64_t place, std::int64_t& kept,
                         unsigned& times) {
  const int lane = int(threadIdx.x % kLanes);
  const std::int64_t left = __shfl_up_sync(kAll, place, 1);
  const unsigned begins = __ballot_sync(kAll, lane == 0 || place != left);
  const std::int64_t first = __shfl_sync(kAll, place, 0);
  if (begins == 1 && first == kept) {
    times += kLanes;
    return;
  }
  if (lane == 0 && times > 0 && kept != kNoPlace) add(to, kept, times);
  kept = first;
  times = begins == 1 ? kLanes : 0;
  if (begins == 1 || (begins >> lane & 1) == 0 || place == kNoPlace) return;
  const unsigned later = lane == 31 ? 0 : begins >> (lane + 1);
  add(to, place, unsigned(later == 0 ? kLanes - lane : __ffs(int(later))));
}

template <class T>
__global__ void count_between_kernel(Pointer<const T> score, Pointer<const bool> skip,
                                     Pointer<const T> level, Pointer<std::int64_t> count,
                                     Pointer<std::int64_t> tied, std::int64_t N, std::int64_t M,
                                     int depth) {
  const Pointer<T> tree = dynamic_shared<T>();
  const Counts to{dynamic_shared<unsigned>(sizeof(T) << depth), for_atomics(count),
                  for_atomics(tied), M <= kFew};
  plant(level, tree, M, depth);
  for (std::int64_t i = threadIdx.x; to.shared && i < 2 * M + 2; i += kThreads) to.few[i] = 0;
  __syncthreads();

  const std::int64_t warps = kThreads / kLanes;
  const std::int64_t warp = blockIdx.x * warps + threadIdx.x / kLanes;
  for (std::int64_t begin = warp * kStretch; begin < N; begin += gridDim.x * warps * kStretch) {
    std::int64_t kept = kNoPlace;
    unsigned times = 0;
    const std::int64_t end = begin + kStretch < N ? begin + kStretch : N;
    for (std::int64_t i = begin; i < end; i += kLanes) {
      const std::int64_t n = i + threadIdx.x % kLanes;
      const bool counted = n < end && !skip[n];
      const std::int64_t place = counted ? place_of<T>(score[n], level, tree, M, depth) : kNoPlace;
      add_runs(to, place, kept, times);
    }
    if (threadIdx.x % kLanes == 0 && times > 0 && kept != kNoPlace) add(to, kept, times);
  }

  if (!to.shared) return;
  __syncthreads();
  for (std::int64_t m = threadIdx.x; m <= M; m += kThreads) {
    const unsigned between = to.few[2 * m], equal = to.few[2 * m + 1];
    if (between + equal > 0) atomicAdd(to.count + m, Counter(between) + equal);
    if (equal > 0) atomicAdd(to.tied + m - 1, equal);
  }
}

template <class T>
void start(const CountBetween<T>& p, void* stream) {
  if (p.N == 0) return;
  int depth = 0;
  while (depth < kDepth && std::int64_t(1) << depth <= p.M) ++depth;
  const std::size_t counters = p.M <= kFew ? std::size_t(2 * p.M + 2) : 0;
  const std::size_t bytes = (sizeof(T) << depth) + counters * sizeof(unsigned);
  const std::int64_t blocks = pieces(p.N, kThreads / kLanes * kStretch);
  launch("count_between_kernel", count_between_kernel<T>,
         unsigned(blocks < kMostBlocks ? blocks : kMostBlocks), kThreads, bytes, stream, p.score,
         p.skip, p.level, p.count, p.tied, p.N, p.M, depth);
}

}  // namespace

template <>
void count_between<Cuda, float>(const CountBetween<float>& p, void* stream) {
  start(p, stream);
}
template <>
void count_between<Cuda, double>(const CountBetween<double>& p, void* stream) {
  start(p, stream);
}

}  // namespace cmad
