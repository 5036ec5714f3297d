#include "emulate/faults.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "emulate/half.h"

namespace cmad {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

/// Turns the values of a block round.
template <bool right>
__global__ void barrier_kernel(In in, Out out) {
  __shared__ Shared<float[kThreads]> line;
  const int t = int(threadIdx.x);
  line[t] = in[here()];
  if (right) __syncthreads();
  out[here()] = line[kThreads - 1 - t];
}

/// Moves the values of a block by two places; the second barrier is for who still reads.
template <bool right>
__global__ void second_barrier_kernel(In in, Out out) {
  __shared__ Shared<float[kThreads]> line;
  const int t = int(threadIdx.x);
  line[t] = in[here()];
  for (int i = 0; i < 2; ++i) {
    __syncthreads();
    const float value = line[(t + 1) % kThreads];
    if (right) __syncthreads();
    line[t] = value;
  }
  out[here()] = line[t];
}

/// Only a part of the block comes to the barrier.
template <bool right>
__global__ void divergent_barrier_kernel(In in, Out out) {
  if (right || threadIdx.x < 40) __syncthreads();
  out[here()] = in[here()];
}

/// All come to a barrier, but not to the same.
template <bool right>
__global__ void two_barriers_kernel(In in, Out out) {
  if (right || threadIdx.x < 40)
    __syncthreads();
  else
    __syncthreads();
  out[here()] = in[here()];
}

template <bool right>
__global__ void off_by_one_kernel(In in, Out out) {
  const int next = right ? (here() + 1) % kAll : here() + 1;
  out[next] = in[here()];
}

template <bool right>
__global__ void off_by_one_shared_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();  // [kThreads]
  const int t = int(threadIdx.x);
  line[right ? t : t + 1] = in[here()];
  __syncthreads();
  out[here()] = line[kThreads - 1 - t];
}

template <bool right>
__global__ void aligned_kernel(In in, Out out) {
  const int t = int(threadIdx.x);
  auto line = dynamic_shared<float>();
  line[t] = in[here()];
  __syncthreads();
  auto other = dynamic_shared<float>(right ? 0 : 2);
  out[here()] = other[t < kThreads - 1 ? t : 0];
}

/// A column too many is the next row's first.
template <bool right>
__global__ void off_by_one_row_kernel(In in, Out out) {
  __shared__ Shared<float[2][kThreads / 2]> table;
  const int t = int(threadIdx.x), row = t / 32, column = t % 32;
  table[row][column] = in[here()];
  __syncthreads();
  out[here()] = table[row][right ? 31 - column : 32 - column];
}

/// Half of the shared memory is written.
template <bool right>
__global__ void unwritten_kernel(In in, Out out) {
  __shared__ Shared<float[kThreads]> line;
  const int t = int(threadIdx.x);
  if (right || t < kThreads / 2) line[t] = in[here()];
  __syncthreads();
  out[here()] = line[t];
}

/// An output is added to before it is set.
template <bool right>
__global__ void unwritten_output_kernel(In in, Out out) {
  if (right) out[here()] = 0.0f;
  out[here()] += in[here()];
}

/// A block reads what the block before it left in shared memory.
template <bool right>
__global__ void left_over_kernel(In in, Out out) {
  __shared__ Shared<float> value;
  if (threadIdx.x == 0 && (right || blockIdx.x == 0)) value = in[0];
  __syncthreads();
  out[here()] = value;
}

/// Lanes swap values through shared memory after a shuffle, which orders no memory.
template <bool right>
__global__ void warp_barrier_kernel(In in, Out out) {
  __shared__ Shared<float[kThreads]> line;
  const int t = int(threadIdx.x);
  float value = in[here()];
  if (t % 32 < 16) {
    line[t] = value;
    value = __shfl_xor_sync(0xffffu, value, 1);
    if (right) __syncwarp(0xffffu);
    value += line[t ^ 2];
  }
  out[here()] = value;
}

/// The mask names lanes that take another way.
template <bool right>
__global__ void wrong_mask_kernel(In in, Out out) {
  float value = in[here()];
  if (threadIdx.x % 32 < 16) value = __shfl_xor_sync(right ? 0xffffu : 0xffffffffu, value, 1);
  out[here()] = value;
}

/// A lane reads one that its mask does not name.
template <bool right>
__global__ void wrong_lane_kernel(In in, Out out) {
  float value = in[here()];
  if (threadIdx.x % 32 < 16) value = __shfl_down_sync(0xffffu, value, 1, right ? 16 : 32);
  out[here()] = value;
}

/// Counts the threads of a block.
template <bool right>
__global__ void count_kernel(In, Out out) {
  __shared__ Shared<int> count;
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  if (right)
    atomicAdd(&count, 1);
  else
    count = count + 1;
  __syncthreads();
  out[here()] = float(count);
}

/// The counter is set to zero while others count.
template <bool right>
__global__ void early_count_kernel(In, Out out) {
  __shared__ Shared<int> count;
  if (threadIdx.x == 0) count = 0;
  if (right) __syncthreads();
  atomicAdd(&count, 1);
  __syncthreads();
  out[here()] = float(count);
}

/// Blocks of one launch have no order.
template <bool right>
__global__ void blocks_kernel(In in, Out out) {
  const int other = (here() + kThreads) % kAll;
  out[here()] = in[here()];
  if (!right && blockIdx.x == 1) out[here()] = out[other];
}

/// Blocks write to the same place.
template <bool right>
__global__ void blocks_writing_kernel(In in, Out out) {
  out[right ? here() : int(threadIdx.x)] = in[here()];
}

/// What each intrinsic gives the lanes of the first block's first warp; for the other threads 0.
template <int which>
__global__ void intrinsic_kernel(In in, Out out) {
  const int lane = int(threadIdx.x) % 32;
  const float x = in[here()];
  const unsigned all = 0xffffffffu;
  float y = 0;
  if (which == 0) y = __shfl_sync(all, x, 5);
  if (which == 1) y = __shfl_sync(all, x, 9, 8);
  if (which == 2) y = __shfl_up_sync(all, x, 3u);
  if (which == 3) y = __shfl_down_sync(all, x, 3u, 8);
  if (which == 4) y = __shfl_xor_sync(all, x, 5);
  if (which == 5) y = float(__popc(__ballot_sync(all, lane % 3 == 0)));
  if (which == 6) y = float(__any_sync(all, lane == 7) + 2 * __all_sync(all, lane < 31));
  if (which == 7) y = float(__reduce_add_sync(all, lane));
  if (which == 8) y = float(__reduce_min_sync(all, lane - 40));
  if (which == 9) y = float(__reduce_max_sync(all, unsigned(lane)));
  if (which == 10) y = float(__reduce_xor_sync(all, unsigned(lane) & 17u));
  if (which == 11) y = __ldg(in + here());
  out[here()] = y;
}

/// Adds by compare and swap, and the least and greatest by atomics; all in global memory.
__global__ void atomics_kernel(In, Pointer<float> sum, Pointer<int> most) {
  atomicAdd(sum, 1.0f);
  atomicMin(most, -here());
  atomicMax(most + 1, here());
  int seen = 0, before;  // a guess: a plain read would race with the others' updates
  do {
    before = seen;
    seen = atomicCAS(most + 2, before, before + 1);
  } while (seen != before);
}

Kernels block_kernels() {
  return {
      {"barrier", {barrier_kernel<true>, barrier_kernel<false>}},
      {"second_barrier", {second_barrier_kernel<true>, second_barrier_kernel<false>}},
      {"divergent_barrier", {divergent_barrier_kernel<true>, divergent_barrier_kernel<false>}},
      {"two_barriers", {two_barriers_kernel<true>, two_barriers_kernel<false>}},
      {"off_by_one", {off_by_one_kernel<true>, off_by_one_kernel<false>}},
      {"off_by_one_shared", {off_by_one_shared_kernel<true>, off_by_one_shared_kernel<false>}},
      {"off_by_one_row", {off_by_one_row_kernel<true>, off_by_one_row_kernel<false>}},
      {"aligned", {aligned_kernel<true>, aligned_kernel<false>}},
      {"unwritten", {unwritten_kernel<true>, unwritten_kernel<false>}},
      {"unwritten_output", {unwritten_output_kernel<true>, unwritten_output_kernel<false>}},
      {"left_over", {left_over_kernel<true>, left_over_kernel<false>}},
      {"warp_barrier", {warp_barrier_kernel<true>, warp_barrier_kernel<false>}},
      {"wrong_mask", {wrong_mask_kernel<true>, wrong_mask_kernel<false>}},
      {"wrong_lane", {wrong_lane_kernel<true>, wrong_lane_kernel<false>}},
      {"count", {count_kernel<true>, count_kernel<false>}},
      {"early_count", {early_count_kernel<true>, early_count_kernel<false>}},
      {"blocks", {blocks_kernel<true>, blocks_kernel<false>}},
      {"blocks_writing", {blocks_writing_kernel<true>, blocks_writing_kernel<false>}},
  };
}

const Kernels& kernels() {
  static const Kernels all = [] {
    Kernels both = block_kernels();
    both.merge(mma_kernels());
    return both;
  }();
  return all;
}

/// Runs a kernel on the numbers 0, 1, ...
std::vector<float> run_kernel(const std::string& name, Kernel kernel, std::uint64_t seed,
                              unsigned threads = kThreads) {
  std::vector<float> in(kAll), out(kAll);
  for (int i = 0; i < kAll; ++i) in[i] = float(i);
  const emulate::Registered given(in.data(), kAll * sizeof(float), sizeof(float), true, "in");
  const emulate::Registered made(out.data(), kAll * sizeof(float), sizeof(float), false, "out");
  emulate::seed = seed;
  launch(name.c_str(), kernel, kBlocks, threads, threads * sizeof(float), nullptr, in.data(),
         out.data());
  return out;
}

__global__ void last_byte_kernel(int bytes) { dynamic_shared<char>()[bytes - 1] = 'x'; }

template <int... which>
std::vector<std::vector<float>> run_intrinsics(std::uint64_t seed,
                                               std::integer_sequence<int, which...>) {
  return {run_kernel("intrinsic", intrinsic_kernel<which>, seed)...};
}

std::vector<float> run_atomics(std::uint64_t seed) {
  float in = 0, sum = 0;
  std::vector<int> most(3);
  const emulate::Registered a(&in, sizeof in, sizeof in, true, "in");
  const emulate::Registered b(&sum, sizeof sum, sizeof sum, true, "sum");
  const emulate::Registered c(most.data(), 3 * sizeof(int), sizeof(int), true, "most");
  emulate::seed = seed;
  launch("atomics", atomics_kernel, kBlocks, kThreads, 0, nullptr, &in, &sum, most.data());
  return {sum, float(most[0]), float(most[1]), float(most[2])};
}

/// Mistakes with a thread's own values, which only sanitizers find: an index into its array, a
/// shift, a sum.
__global__ void own_kernel(Pointer<int> out, int place, int bits, int more) {
  int own[4] = {1, 2, 3, 4};
  __syncthreads();
  out[threadIdx.x] = own[place] + (1 << bits) + (0x7fffffff - 16 + more);
}

std::vector<int> run_own(int place, int bits, int more) {
  std::vector<int> out(kThreads);
  const emulate::Registered a(out.data(), out.size() * sizeof(int), sizeof(int), false, "out");
  launch("own", own_kernel, 1, kThreads, 0, nullptr, out.data(), place, bits, more);
  return out;
}

}  // namespace
}  // namespace cmad

NB_MODULE(_emulator, m) {
  using namespace cmad;
  m.doc() = "Kernels that try the emulator of CUDA kernels; for tests.";
  m.def("kernels", [] {
    std::vector<std::string> names;
    for (const auto& kernel : kernels()) names.push_back(kernel.first);
    return names;
  });
  m.def(
      "run",
      [](const std::string& name, bool right, std::uint64_t seed, unsigned threads) {
        const Pair& pair = kernels().at(name);
        return run_kernel(name, right ? pair.right : pair.wrong, seed, threads);
      },
      "name"_a, "right"_a, "seed"_a, "threads"_a = kThreads);
  m.def("intrinsics", [](std::uint64_t seed) {
    return run_intrinsics(seed, std::make_integer_sequence<int, 12>());
  });
  m.def("atomics", run_atomics);
  m.def("own", run_own, "place"_a = 0, "bits"_a = 0, "more"_a = 0);
  m.attr("sanitized") = bool(CMAD_ASAN);
  m.def("share", [](int bytes) {
    launch("share", last_byte_kernel, 1, 1, std::size_t(bytes), nullptr, bytes);
  });
  m.def("product", mma_product, "a"_a, "b"_a, "turned"_a, "seed"_a);
  m.def("ldmatrix", ldmatrix_lanes, "matrices"_a, "turned"_a, "seed"_a);
  m.def("float16", [](float value) { return __half2float(__float2half_rn(value)); });
}
