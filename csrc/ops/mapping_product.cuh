#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/mma.cuh"

// Products A B^T of float16 with sums in float32, for the layers of mapping_discrepancy.
//
// A block has a tile of 128 x 128 sums, each of its 8 warps 64 x 32 of them in registers. In shared
// memory are 32 columns of the tile's rows of A and of B, three times: while one is multiplied the
// next two are on their way (cp.async), so that there is one barrier for 32 columns. A row there is
// 64 bytes, its four pieces of 16 exchanged so that neither eight rows in sequence (of A) nor pairs
// of rows eight apart (of B) use a bank twice. These 48 KiB and 128 registers a thread let two
// blocks run on a multiprocessor, also where it has 100 KiB.
//
// A thread has eight sums in sequence in each of its rows: the columns that mma gives it, as B's
// rows are put in that order where they are loaded from shared memory.

namespace cmad {
namespace {

using I = std::int64_t;
using Halves = Pointer<const __half>;

constexpr int kTile = 128, kWarpRows = 64, kWarpColumns = 32;
constexpr int kDepth = 32, kStages = 3;
constexpr int kProductThreads = 256;
constexpr int kOperand = kTile * kDepth;  // numbers of a tile that are there at a time
constexpr std::size_t kProductBytes = sizeof(__half) * kStages * 2 * kOperand;

/// Of numbers in two parts the second lies a whole matrix behind the first.
struct Operands {
  Halves a;  // [numbers][rows][H]
  I a_second;
  Halves b;  // [numbers][N][H]
  I N, H;
};

/// Where 16 bytes of a row lie in shared memory, counted in numbers.
__device__ inline int piece(int row, int i) {
  return row * kDepth + ((i ^ row >> 1 ^ row >> 3) & 3) * 8;
}

/// What a thread has of its block's tile.
struct Part {
  int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  int first_row = warp / 4 * kWarpRows, first_column = warp % 4 * kWarpColumns;
  float sum[4][4][4] = {};

  __device__ int row(int r) const { return first_row + r * 8 + lane / 4; }
  __device__ int column() const { return first_column + lane % 4 * 8; }
  /// Its eight sums of row(r), r in [0, 8).
  __device__ void eight(int r, float (&to)[8]) const {
    for (int i = 0; i < 8; ++i) to[i] = sum[r / 2][i / 2][r % 2 * 2 + i % 2];
  }
};

/// mma cuts off what a float lacks, always towards zero: a length of many products would be short
/// by 1e-5. float32 is added to by itself, which rounds.
template <int numbers>
__device__ void add_product(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  if constexpr (numbers == 1) {
    mma_m16n8k16(sum, a, b0, b1);
  } else {
    float product[4] = {};
    mma_m16n8k16(product, a, b0, b1);
    for (int i = 0; i < 4; ++i) sum[i] += product[i];
  }
}

/// The sums of `rows` rows, of which `row_of` says where in A they are, and the columns from n0 on,
/// over the entries from `first` on. Numbers in two parts take three products; the fourth is less
/// than what float32 has.
template <int numbers, class RowOf>
__device__ void multiply(const Operands& p, const RowOf& row_of, int rows, int n0, int first,
                         Part& part) {
  auto tiles = dynamic_shared<__half>();  // [kStages][2][kTile][kDepth]
  constexpr int passes = numbers == 1 ? 1 : 3;
  const int columns = int(p.N) - n0, H = int(p.H);
  const int line = int(threadIdx.x) / 4, at = int(threadIdx.x) % 4;

  const bool there[4] = {line < rows, line + 64 < rows, line < columns, line + 64 < columns};
  const Halves from[4] = {p.a + ((there[0] ? row_of(line) : 0) * p.H + at * 8),
                          p.a + ((there[1] ? row_of(line + 64) : 0) * p.H + at * 8),
                          p.b + ((there[2] ? n0 + line : 0) * p.H + at * 8),
                          p.b + ((there[3] ? n0 + line + 64 : 0) * p.H + at * 8)};
  int k = first, pass = 0, slot = 0;
  const auto copy = [&] {
    if (pass < passes) {
      for (int i = 0; i < 4; ++i) {
        const I second = i < 2 ? (pass == 2 ? p.a_second : 0) : (pass == 1 ? p.N * p.H : 0);
        cp_async_16(tiles + ((slot * 2 + i / 2) * kOperand + piece(line + i % 2 * 64, at)),
                    from[i] + (second + k), there[i]);
      }
      slot = slot + 1 < kStages ? slot + 1 : 0;
      k += kDepth;
      if (k == H) {
        k = first;
        ++pass;
      }
    }
    cp_async_commit();
  };

  // Rows and pieces that this lane names to ldmatrix: of A 16 rows at a time, of B the 16 of two
  // mma, columns 2 c and 2 c + 1 of mma j being the tile's 8 c + 2 j and the next.
  const int lane = part.lane, row_a = part.first_row + lane % 16, piece_a = lane / 16;
  const int row_b = part.first_column + lane % 8 / 2 * 8 + lane / 16 * 2 + lane % 2;
  const int piece_b = lane / 8 % 2;
  const bool works = part.first_row < rows && part.first_column < columns;  // or not: a whole warp

  for (int s = 0; s + 1 < kStages; ++s) copy();
  const int steps = passes * ((H - first) / kDepth);
  for (int step = 0, now = 0; step < steps; ++step, now = now + 1 < kStages ? now + 1 : 0) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // this step's numbers are there, and nobody reads the last one's
    copy();
    if (!works) continue;
    const Halves a = tiles + now * 2 * kOperand, b = a + kOperand;
    for (int i = 0; i < kDepth / 16; ++i) {
      unsigned of_a[4], of_b[2][4];
      for (int j = 0; j < 2; ++j) ldmatrix_x4(of_b[j], b + piece(row_b + j * 4, i * 2 + piece_b));
      for (int r = 0; r < 4; ++r) {
        ldmatrix_x4(of_a, a + piece(row_a + r * 16, i * 2 + piece_a));
        for (int j = 0; j < 4; ++j)
          add_product<numbers>(part.sum[r][j], of_a, of_b[j / 2][j % 2 * 2],
                               of_b[j / 2][j % 2 * 2 + 1]);
      }
    }
  }
}

/// out[row] = the sum of `value(row, eight sums)` over the tile's columns.
template <class Value>
__device__ void add_rows(const Part& part, int rows, int columns, const Value& value,
                         Pointer<float> out) {
  auto sums = dynamic_shared<float>();  // [4][kTile], over the numbers
  __syncthreads();
#pragma unroll  // registers have no index
  for (int r = 0; r < 8; ++r) {
    float eight[8], sum = 0;
    part.eight(r, eight);
    if (part.row(r) < rows && part.column() < columns) sum = value(part.row(r), eight);
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    if (part.lane % 4 == 0) sums[part.warp % 4 * kTile + part.row(r)] = sum;
  }
  __syncthreads();
  const int t = int(threadIdx.x);
  if (t < rows) out[t] = (sums[t] + sums[t + kTile]) + (sums[t + 2 * kTile] + sums[t + 3 * kTile]);
}

/// Consecutive numbers, which a thread reads or writes at once.
struct alignas(16) Float4 {
  float v[4];
};
struct alignas(8) Float2 {
  float v[2];
};
template <int pairs>
struct alignas(4 * pairs) Packed {
  unsigned v[pairs];  // of float16: as __half2 they would be written one by one
};

__device__ inline unsigned bits_of(__half2 pair) {
  unsigned bits;
  std::memcpy(&bits, &pair, sizeof bits);
  return bits;
}

/// Writes numbers as float16; of two, `second` places on, what these lack.
template <int numbers, int pairs>
__device__ void keep(Pointer<Packed<pairs>> out, I at, I second, const float (&x)[2 * pairs]) {
  Packed<pairs> high, low;
  for (int i = 0; i < pairs; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    const __half2 pair = __floats2half2_rn(a, b);
    high.v[i] = bits_of(pair);
    low.v[i] = bits_of(__floats2half2_rn(a - __low2float(pair), b - __high2float(pair)));
  }
  out[at] = high;
  if (numbers == 2) out[at + second] = low;
}

}  // namespace
}  // namespace cmad
