#include <cstring>

#include "core/mma.cuh"
#include "emulate/faults.h"

namespace cmad {
namespace {

constexpr int kWide = 4, kCopies = kThreads / kWide;  // a copy is of four floats

/// Begins to copy the block's values to shared memory, by its first threads.
__device__ void copy(Pointer<float> line, In in, int first = 0) {
  const int t = int(threadIdx.x) - first;
  if (t < 0 || t >= kCopies) return;
  cp_async_16(line + t * kWide, in + int(blockIdx.x) * kThreads + t * kWide);
}

/// Turns the values of a block round.
__device__ void turn(Pointer<float> line, Out out) {
  out[here()] = line[kThreads - 1 - int(threadIdx.x)];
}

template <bool right>
__global__ void copy_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();  // [kThreads]
  copy(line, in);
  cp_async_commit();
  if (right) cp_async_wait<0>();
  __syncthreads();
  turn(line, out);
}

/// Who waits knows of its own copies only.
template <bool right>
__global__ void copy_barrier_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();
  copy(line, in);
  cp_async_commit();
  cp_async_wait<0>();
  if (right) __syncthreads();
  turn(line, out);
}

/// A copy of no group is not waited for.
template <bool right>
__global__ void copy_commit_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();
  copy(line, in);
  if (right) cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  turn(line, out);
}

/// The newest group is the one that is used.
template <bool right>
__global__ void copy_newest_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();
  const int t = int(threadIdx.x);
  if (t < kCopies / 2) cp_async_16(line + t * kWide, in + (here() - t + t * kWide));
  cp_async_commit();
  if (t < kCopies / 2) cp_async_16(line + (t * kWide + 32), in + (here() - t + t * kWide + 32));
  cp_async_commit();
  cp_async_wait<right ? 0 : 1>();
  __syncthreads();
  turn(line, out);
}

/// Copies to where others still read.
template <bool right>
__global__ void copy_early_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();
  line[int(threadIdx.x)] = 1.0f;
  __syncthreads();
  const float one = line[kThreads - 1 - int(threadIdx.x)];
  if (right) __syncthreads();
  copy(line, in);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  out[here()] = one * line[kThreads - 1 - int(threadIdx.x)];
}

/// Writes to where a copy is on its way to.
template <bool right>
__global__ void copy_written_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();
  copy(line, in);
  cp_async_commit();
  if (right) cp_async_wait<0>();
  if (threadIdx.x == 0) line[0] = in[here()];
  cp_async_wait<0>();
  __syncthreads();
  turn(line, out);
}

template <bool right>
__global__ void copy_outside_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();
  copy(line + (right ? 0 : kWide), in);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  turn(line, out);
}

/// What is not there is not read.
template <bool right>
__global__ void copy_past_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();
  const int t = int(threadIdx.x), from = int(blockIdx.x) * kThreads + (t + 1) * kWide;
  if (t < kCopies) cp_async_16(line + t * kWide, in + from, !right || from < kAll);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  out[here()] = line[t];
}

template <bool right>
__global__ void copy_aligned_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();
  copy(line, in);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  turn(line, out);
  if (!right) cp_async_16(line + 1, in);
}

template <bool right>
__global__ void copy_from_aligned_kernel(In in, Out out) {
  auto line = dynamic_shared<float>();
  copy(line, in + (right ? 0 : 1));
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  turn(line, out);
}

/// 16 rows of eight, which the lanes name twice.
__device__ void fill(Pointer<__half> rows, In in) {
  const int t = int(threadIdx.x);
  if (t < 32)
    for (int i = 0; i < 4; ++i) rows[t * 4 + i] = __float2half_rn(in[t]);
  __syncthreads();
}

template <bool right>
__global__ void ldmatrix_aligned_kernel(In in, Out out) {
  auto rows = dynamic_shared<__half>();  // [16][8]
  fill(rows, in);
  unsigned held[4];
  const int row = int(threadIdx.x) % 16 * 8;
  ldmatrix_x4(held, rows + (right || row > 0 ? row : 1));
  out[here()] = float(held[0] == held[2]);
}

template <bool right>
__global__ void ldmatrix_outside_kernel(In in, Out out) {
  auto rows = dynamic_shared<__half>();
  fill(rows, in);
  unsigned held[4];
  ldmatrix_x4_trans(held, rows + int(threadIdx.x) % (right ? 16 : 17) * 8);
  out[here()] = float(held[0] == held[2]);
}

/// Rows that another warp has just written.
template <bool right>
__global__ void ldmatrix_barrier_kernel(In in, Out out) {
  auto rows = dynamic_shared<__half>();
  const int t = int(threadIdx.x);
  rows[t] = __float2half_rn(in[t]);
  rows[t + kThreads] = __float2half_rn(in[t]);
  if (right) __syncthreads();
  unsigned held[4];
  ldmatrix_x4(held, rows + t % 16 * 8);
  out[here()] = float(held[0] == held[2]);
}

/// Some lanes stay away.
template <bool right>
__global__ void ldmatrix_lanes_kernel(In in, Out out) {
  auto rows = dynamic_shared<__half>();
  fill(rows, in);
  unsigned held[4] = {1, 0, 1, 0};
  if (right || threadIdx.x < 40) ldmatrix_x4(held, rows + int(threadIdx.x) % 16 * 8);
  out[here()] = float(held[0] == held[2]);
}

/// An array declared as `Shared` need not begin at 16 bytes.
template <bool right>
__global__ void ldmatrix_shared_kernel(In in, Out out) {
  __shared__ Shared<__half[kAll]> given;
  Pointer<__half> rows = right ? dynamic_shared<__half>() : given + 0;
  fill(rows, in);
  unsigned held[4];
  ldmatrix_x4(held, rows + int(threadIdx.x) % 16 * 8);
  out[here()] = float(held[0] == held[2]);
}

/// One and one, sixteen times.
template <bool right>
__global__ void mma_lanes_kernel(In, Out out) {
  const unsigned ones = 0x3c003c00u, a[4] = {ones, ones, ones, ones};
  float sum[4] = {};
  if (right || threadIdx.x % 32 < 30) mma_m16n8k16(sum, a, ones, ones);
  out[here()] = sum[0];
}

using Halves = Pointer<const __half>;

template <bool turned>
__global__ void product_kernel(Halves a, Halves b, Out out) {
  auto left = dynamic_shared<__half>(), right = dynamic_shared<__half>(512);  // [16][16] each
  const int lane = int(threadIdx.x);
  cp_async_16(left + lane * 8, a + lane * 8);
  cp_async_16(right + lane * 8, b + lane * 8);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  unsigned of_a[4], of_b[4];
  ldmatrix_x4(of_a, left + (lane % 16 * 16 + lane / 16 * 8));
  const int row = lane % 8 + lane / 16 * 8, column = lane / 8 % 2 * 8;
  if (turned)
    ldmatrix_x4_trans(of_b, right + (lane % 16 * 16 + lane / 16 * 8));
  else
    ldmatrix_x4(of_b, right + (row * 16 + column));
  for (int n = 0; n < 2; ++n) {
    float sum[4] = {};
    mma_m16n8k16(sum, of_a, of_b[2 * n], of_b[2 * n + 1]);
    for (int i = 0; i < 4; ++i)
      out[(lane / 4 + i / 2 * 8) * 16 + n * 8 + lane % 4 * 2 + i % 2] = sum[i];
  }
}

template <bool turned>
__global__ void lanes_kernel(Halves matrices, Pointer<unsigned> out) {
  auto rows = dynamic_shared<__half>();  // [32][8]
  const int lane = int(threadIdx.x);
  cp_async_16(rows + lane * 8, matrices + lane * 8);
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
  unsigned held[4];
  turned ? ldmatrix_x4_trans(held, rows + lane * 8) : ldmatrix_x4(held, rows + lane * 8);
  for (int m = 0; m < 4; ++m) out[lane * 4 + m] = held[m];
}

/// Numbers as float16 that a kernel may read, aligned as the arrays of ops are.
class Given {
 public:
  explicit Given(const std::vector<float>& values)
      : at_(new (std::align_val_t(16)) __half[values.size()]),
        registered_(at_.get(), values.size() * sizeof(__half), sizeof(__half), true, "given") {
    for (std::size_t i = 0; i < values.size(); ++i) at_[i] = __float2half_rn(values[i]);
  }
  const __half* data() const { return at_.get(); }

 private:
  struct Free {
    void operator()(__half* at) const { operator delete[](at, std::align_val_t(16)); }
  };
  std::unique_ptr<__half[], Free> at_;
  emulate::Registered registered_;
};

}  // namespace

Kernels mma_kernels() {
  return {
      {"copy", {copy_kernel<true>, copy_kernel<false>}},
      {"copy_barrier", {copy_barrier_kernel<true>, copy_barrier_kernel<false>}},
      {"copy_commit", {copy_commit_kernel<true>, copy_commit_kernel<false>}},
      {"copy_newest", {copy_newest_kernel<true>, copy_newest_kernel<false>}},
      {"copy_early", {copy_early_kernel<true>, copy_early_kernel<false>}},
      {"copy_written", {copy_written_kernel<true>, copy_written_kernel<false>}},
      {"copy_outside", {copy_outside_kernel<true>, copy_outside_kernel<false>}},
      {"copy_past", {copy_past_kernel<true>, copy_past_kernel<false>}},
      {"copy_aligned", {copy_aligned_kernel<true>, copy_aligned_kernel<false>}},
      {"copy_from_aligned", {copy_from_aligned_kernel<true>, copy_from_aligned_kernel<false>}},
      {"ldmatrix_aligned", {ldmatrix_aligned_kernel<true>, ldmatrix_aligned_kernel<false>}},
      {"ldmatrix_outside", {ldmatrix_outside_kernel<true>, ldmatrix_outside_kernel<false>}},
      {"ldmatrix_barrier", {ldmatrix_barrier_kernel<true>, ldmatrix_barrier_kernel<false>}},
      {"ldmatrix_lanes", {ldmatrix_lanes_kernel<true>, ldmatrix_lanes_kernel<false>}},
      {"ldmatrix_shared", {ldmatrix_shared_kernel<true>, ldmatrix_shared_kernel<false>}},
      {"mma_lanes", {mma_lanes_kernel<true>, mma_lanes_kernel<false>}},
  };
}

std::vector<float> mma_product(const std::vector<float>& a, const std::vector<float>& b,
                               bool turned, std::uint64_t seed) {
  const Given left(a), right(b);
  std::vector<float> out(256);
  const emulate::Registered made(out.data(), 256 * sizeof(float), sizeof(float), false, "out");
  emulate::seed = seed;
  launch("product", turned ? product_kernel<true> : product_kernel<false>, 1, 32, 1024, nullptr,
         left.data(), right.data(), out.data());
  return out;
}

std::vector<float> ldmatrix_lanes(const std::vector<float>& matrices, bool turned,
                                  std::uint64_t seed) {
  const Given given(matrices);
  std::vector<unsigned> held(128);
  const emulate::Registered made(held.data(), 128 * sizeof(unsigned), sizeof(unsigned), false,
                                 "held");
  emulate::seed = seed;
  launch("lanes", turned ? lanes_kernel<true> : lanes_kernel<false>, 1, 32, 512, nullptr,
         given.data(), held.data());
  std::vector<float> numbers;
  for (const unsigned two : held)
    for (const unsigned bits : {two & 0xffffu, two >> 16})
      numbers.push_back(__half2float({std::uint16_t(bits)}));
  return numbers;
}

}  // namespace cmad
