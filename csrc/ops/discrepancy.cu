#include <cmath>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/discrepancy.h"

namespace cmad {
namespace {

constexpr int kLanes = 32, kRows = 4;  // a warp has a row
constexpr unsigned kAll = 0xffffffffu;

__device__ double length(double squares) {
  const double root = std::sqrt(squares);
  return root < 1e-12 ? 1e-12 : root;
}

/// NaN stays NaN.
__device__ double at_most(double limit, double x) { return limit < x ? limit : x; }

/// Of the lanes of a warp; each gets the same bits, as each step adds the same two numbers.
__device__ double total(double sum) {
  for (int lane = kLanes / 2; lane > 0; lane /= 2) sum += __shfl_xor_sync(kAll, sum, lane);
  return sum;
}

struct Compared {
  double aa, bb, d2;
};

/// Squares of two rows and of their normalised difference: not 2 - 2 cos, which would lose the
/// small distances. A lane sums in Number.
template <class Number>
__device__ Compared compare(Pointer<const float> a, Pointer<const float> b, std::int64_t D) {
  Number aa = 0, bb = 0, d2 = 0;
  for (std::int64_t d = threadIdx.x; d < D; d += kLanes) {
    const Number x = a[d], y = b[d];
    aa += x * x;
    bb += y * y;
  }
  Compared row{total(aa), total(bb), 0};
  const Number sa = Number(1 / length(row.aa)), sb = Number(1 / length(row.bb));
  for (std::int64_t d = threadIdx.x; d < D; d += kLanes) {
    const Number e = Number(a[d]) * sa - Number(b[d]) * sb;
    d2 += e * e;
  }
  row.d2 = total(d2);
  return row;
}

__global__ void discrepancy_kernel(Pointer<const float> a, Pointer<const float> b,
                                   Pointer<float> euclidean, Pointer<float> cosine, std::int64_t P,
                                   std::int64_t D) {
  const std::int64_t row = std::int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (row >= P) return;  // a whole warp
  Compared s = compare<float>(a + row * D, b + row * D, D);
  if (!std::isfinite(s.aa) || !std::isfinite(s.bb))  // the squares overflow float32
    s = compare<double>(a + row * D, b + row * D, D);
  if (threadIdx.x > 0) return;
  euclidean[row] = float(at_most(2.0, std::sqrt(s.d2)));
  // |u - v|^2 = |u|^2 + |v|^2 - 2 u.v, where |u| < 1 only if the row is shorter than 1e-12.
  const double lost = 2 - at_most(1.0, s.aa * 1e24) - at_most(1.0, s.bb * 1e24);
  cosine[row] = float(at_most(2.0, 0.5 * (s.d2 + lost)));
}

}  // namespace

template <>
void discrepancy<Cuda>(const Discrepancy& p, void* stream) {
  if (p.P == 0) return;
  launch("discrepancy_kernel", discrepancy_kernel, unsigned(pieces(p.P, kRows)),
         dim3(kLanes, kRows), 0, stream, p.a, p.b, p.euclidean, p.cosine, p.P, p.D);
}

}  // namespace cmad
