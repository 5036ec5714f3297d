#include "ops/plane.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/math.h"
#include "core/parallel.h"
#include "core/simd.h"
#include "ops/plane_fit.h"

namespace cmad {
namespace {

/// Orthogonal least-squares plane through `count` points, point i at `at(i)`.
template <class At>
Fit fit(std::int64_t count, At&& at) {
  double mean[3] = {0, 0, 0}, a[3][3] = {};
  for (std::int64_t i = 0; i < count; ++i)
    for (int k = 0; k < 3; ++k) mean[k] += at(i)[k];
  for (double& m : mean) m /= double(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const float* p = at(i);
    const double e[3] = {p[0] - mean[0], p[1] - mean[1], p[2] - mean[2]};
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 3; ++k) a[j][k] += e[j] * e[k];
  }
  return plane_through(mean, a);
}

CMAD_SIMD std::int64_t support(const float* __restrict x, const float* __restrict y,
                               const float* __restrict z, std::int64_t N, float a, float b, float c,
                               float d, float threshold) {
  constexpr std::int64_t kPiece = 4096;  // counted in 32 bits, which vectors add faster
  std::int64_t total = 0;
  for (std::int64_t begin = 0; begin < N; begin += kPiece) {
    const std::int64_t end = std::min(begin + kPiece, N);
    std::int32_t count = 0;
    for (std::int64_t n = begin; n < end; ++n) {
      const float distance = ((a * x[n] + b * y[n]) + c * z[n]) + d;
      count += (distance < threshold) & (-distance < threshold);
    }
    total += count;
  }
  return total;
}

}  // namespace

template <>
void plane<Cpu>(const Plane& p, void* stream) {
  std::vector<float> x(p.N), y(p.N), z(p.N);
  for (std::int64_t n = 0; n < p.N; ++n) {
    x[n] = p.xyz[3 * n];
    y[n] = p.xyz[3 * n + 1];
    z[n] = p.xyz[3 * n + 2];
  }
  std::vector<Fit> hypothesis(p.T);
  std::vector<std::int64_t> count(p.T, -1);
  const std::uint64_t key = hash64(p.seed);  // so that near seeds share no draws
  parallel_for(p.T, 64, stream, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const Fit f = hypothesis[t] = fit(p.S, [&](std::int64_t s) {
        return p.xyz + 3 * (hash64(key + std::uint64_t(t * p.S + s)) % std::uint64_t(p.N));
      });
      if (f.ok)
        count[t] = support(x.data(), y.data(), z.data(), p.N, float(f.n[0]), float(f.n[1]),
                           float(f.n[2]), float(f.d), p.threshold);
    }
  });
  const std::int64_t best = std::max_element(count.begin(), count.end()) - count.begin();
  std::fill(p.plane, p.plane + 4, 0.0);
  *p.support = 0;
  if (p.T == 0 || count[best] < 0) return;

  const Fit& f = hypothesis[best];
  std::vector<std::int64_t> inlier;
  for (std::int64_t n = 0; n < p.N; ++n) {
    const float distance =
        ((float(f.n[0]) * x[n] + float(f.n[1]) * y[n]) + float(f.n[2]) * z[n]) + float(f.d);
    if (std::abs(distance) < p.threshold) inlier.push_back(n);
  }
  const Fit refit =
      fit(std::int64_t(inlier.size()), [&](std::int64_t i) { return p.xyz + 3 * inlier[i]; });
  const Fit& result = refit.ok ? refit : f;
  std::copy(result.n, result.n + 3, p.plane);
  p.plane[3] = result.d;
  *p.support = count[best];
}

}  // namespace cmad
