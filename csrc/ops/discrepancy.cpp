#include "ops/discrepancy.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "core/simd.h"

namespace cmad {
namespace {

constexpr int kLanes = 32;

struct Sums {
  double aa, bb;
};

double total(const float* lane) {
  double sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += double(lane[i]);
  return sum;
}

CMAD_SIMD Sums squares(const float* __restrict a, const float* __restrict b, std::int64_t D) {
  float aa[kLanes] = {}, bb[kLanes] = {};
  std::int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes)
    for (int i = 0; i < kLanes; ++i) {
      aa[i] += a[d + i] * a[d + i];
      bb[i] += b[d + i] * b[d + i];
    }
  for (; d < D; ++d) {
    aa[0] += a[d] * a[d];
    bb[0] += b[d] * b[d];
  }
  return {total(aa), total(bb)};
}

/// Sum of squares of a * sa - b * sb. From differences: 2 - 2 cos would lose the small distances.
CMAD_SIMD double squared_difference(const float* __restrict a, const float* __restrict b,
                                    std::int64_t D, float sa, float sb) {
  float sum[kLanes] = {};
  std::int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes)
    for (int i = 0; i < kLanes; ++i) {
      const float e = a[d + i] * sa - b[d + i] * sb;
      sum[i] += e * e;
    }
  for (; d < D; ++d) {
    const float e = a[d] * sa - b[d] * sb;
    sum[0] += e * e;
  }
  return total(sum);
}

}  // namespace

template <>
void discrepancy<Cpu>(const Discrepancy& p, void* stream) {
  parallel_for(p.P, 256, stream, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* a = p.a + row * p.D;
      const float* b = p.b + row * p.D;
      const Sums s = squares(a, b, p.D);
      const double la = std::max(std::sqrt(s.aa), 1e-12), lb = std::max(std::sqrt(s.bb), 1e-12);
      const double d2 = squared_difference(a, b, p.D, float(1 / la), float(1 / lb));
      // The limit comes second, so that NaN stays NaN.
      p.euclidean[row] = float(std::min(std::sqrt(d2), 2.0));
      // |u - v|^2 = |u|^2 + |v|^2 - 2 u.v, where |u| < 1 only if the row is shorter than 1e-12.
      const double lost = 2 - std::min(1.0, s.aa * 1e24) - std::min(1.0, s.bb * 1e24);
      p.cosine[row] = float(std::min(0.5 * (d2 + lost), 2.0));
    }
  });
}

}  // namespace cmad
