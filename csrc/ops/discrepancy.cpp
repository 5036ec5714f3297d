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

/// As rows are divided by it.
double length(double squares) { return std::max(std::sqrt(squares), 1e-12); }

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

/// Both in float64, for rows whose squares overflow float32.
struct Wide {
  double aa = 0, bb = 0, d2 = 0;
};
Wide wide(const float* a, const float* b, std::int64_t D) {
  Wide w;
  for (std::int64_t d = 0; d < D; ++d) {
    w.aa += double(a[d]) * double(a[d]);
    w.bb += double(b[d]) * double(b[d]);
  }
  const double sa = 1 / length(w.aa), sb = 1 / length(w.bb);
  for (std::int64_t d = 0; d < D; ++d) {
    const double e = double(a[d]) * sa - double(b[d]) * sb;
    w.d2 += e * e;
  }
  return w;
}

}  // namespace

template <>
void discrepancy<Cpu>(const Discrepancy& p, void* stream) {
  parallel_for(p.P, 256, stream, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* a = p.a + row * p.D;
      const float* b = p.b + row * p.D;
      Sums s = squares(a, b, p.D);
      double d2;
      if (std::isfinite(s.aa) && std::isfinite(s.bb)) {
        d2 = squared_difference(a, b, p.D, float(1 / length(s.aa)), float(1 / length(s.bb)));
      } else {
        const Wide w = wide(a, b, p.D);
        s = {w.aa, w.bb};
        d2 = w.d2;
      }
      // The limit comes second, so that NaN stays NaN.
      p.euclidean[row] = float(std::min(std::sqrt(d2), 2.0));
      // |u - v|^2 = |u|^2 + |v|^2 - 2 u.v, where |u| < 1 only if the row is shorter than 1e-12.
      const double lost = 2 - std::min(1.0, s.aa * 1e24) - std::min(1.0, s.bb * 1e24);
      p.cosine[row] = float(std::min(0.5 * (d2 + lost), 2.0));
    }
  });
}

}  // namespace cmad
