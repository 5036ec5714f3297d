#pragma once

#include <cstdint>

#include "core/launch.cuh"
#include "core/math.h"

// Sets of elements 0 to n - 1 that many threads join, and their numbers. An element's parent is one
// of its set, not behind it, so that a set's root is its first element; -1 is in no set.

namespace cmad {
namespace {

constexpr int kChunk = 256;  // elements that a block numbers, one a thread
constexpr unsigned kWholeWarp = 0xffffffffu;

/// The root of an element's set, while nothing is joined.
__device__ std::int32_t root_of(Pointer<const std::int32_t> parent, std::int32_t i) {
  std::int32_t up = parent[i];
  while (up != i) {
    i = up;
    up = parent[i];
  }
  return i;
}

/// One that was the root of an element's set when it was read, others may be joining. Elements on
/// the way come nearer to it.
__device__ std::int32_t root_so_far(Pointer<std::int32_t> parent, std::int32_t i) {
  std::int32_t up = atomic_load(parent + i);
  while (up != i) {
    const std::int32_t next = atomic_load(parent + up);
    if (next != up) atomicMin(parent + i, next);
    i = up;
    up = next;
  }
  return i;
}

/// Joins the sets of two elements.
__device__ void join(Pointer<std::int32_t> parent, std::int32_t i, std::int32_t j) {
  i = root_so_far(parent, i);
  j = root_so_far(parent, j);
  while (i != j) {
    const std::int32_t low = i < j ? i : j, high = i < j ? j : i;
    const std::int32_t before = atomicMin(parent + high, low);
    if (before == high) return;  // was a root
    i = before;                  // of the two parents, the higher may just have lost its child
    j = low;
  }
}

/// Of the block's threads before this one, how many say yes, and of all. `warps` is in shared
/// memory, [kChunk / 32].
__device__ std::int32_t count_before(bool yes, Pointer<std::int32_t> warps, std::int32_t& all) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned bits = __ballot_sync(kWholeWarp, yes);
  if (lane == 0) warps[warp] = __popc(bits);
  __syncthreads();
  std::int32_t before = __popc(bits & ((1u << lane) - 1));
  all = 0;
  for (unsigned w = 0; w < kChunk / 32; ++w) {
    const std::int32_t count = warps[w];
    before += w < warp ? count : 0;
    all += count;
  }
  return before;
}

/// Of the lanes up to and with this one, the sum.
__device__ std::int32_t sum_to(std::int32_t value) {
  const unsigned lane = threadIdx.x % 32;
  for (unsigned step = 1; step < 32; step *= 2) {
    const std::int32_t lower = __shfl_up_sync(kWholeWarp, value, step);
    if (lane >= step) value += lower;
  }
  return value;
}

/// A block has a chunk. Writes each root's number within its chunk, and the chunk's roots, and
/// behind those of all chunks its elements that are in a set.
__global__ void number_in_chunk_kernel(Pointer<const std::int32_t> parent,
                                       Pointer<std::int32_t> number, Pointer<std::int32_t> total,
                                       std::int64_t n) {
  __shared__ Shared<std::int32_t[kChunk / 32]> roots, members;
  const std::int64_t i = std::int64_t(blockIdx.x) * kChunk + threadIdx.x;
  const std::int32_t up = i < n ? std::int32_t(parent[i]) : -1;
  std::int32_t all = 0;
  const std::int32_t before = count_before(up >= 0 && up == i, roots, all);
  if (up >= 0 && up == i) number[i] = before;
  if (threadIdx.x == 0) total[blockIdx.x] = all;
  count_before(up >= 0, members, all);
  if (threadIdx.x == 0) total[gridDim.x + blockIdx.x] = all;
}

/// A warp has the counts of one kind, a lane some that follow each other; each becomes the sum of
/// those before it.
__global__ void sum_chunks_kernel(Pointer<std::int32_t> total, std::int64_t chunks) {
  const std::int64_t each = pieces(chunks, 32), first = each * threadIdx.x;
  const std::int64_t end = first + each < chunks ? first + each : chunks;
  const Pointer<std::int32_t> of_kind = total + blockIdx.x * chunks;
  std::int32_t own = 0;
  for (std::int64_t c = first; c < end; ++c) own += of_kind[c];
  std::int32_t sum = sum_to(own) - own;
  for (std::int64_t c = first; c < end; ++c) {
    const std::int32_t count = of_kind[c];
    of_kind[c] = sum;
    sum += count;
  }
}

/// The number of a root among all, in their order.
__device__ std::int32_t number_of(Pointer<const std::int32_t> number,
                                  Pointer<const std::int32_t> total, std::int32_t root) {
  return total[root / kChunk] + number[root];
}

/// Makes `number_of` known. `number` [n] and `total` [2, pieces(n, kChunk)] are scratch; of the
/// second row an entry becomes the elements in a set before a chunk.
inline void number_roots(const std::int32_t* parent, std::int32_t* number, std::int32_t* total,
                         std::int64_t n, void* stream) {
  const std::int64_t chunks = pieces(n, kChunk);
  launch("number_in_chunk_kernel", number_in_chunk_kernel, unsigned(chunks), kChunk, 0, stream,
         parent, number, total, n);
  launch("sum_chunks_kernel", sum_chunks_kernel, 2, 32, 0, stream, total, chunks);
}

}  // namespace
}  // namespace cmad
