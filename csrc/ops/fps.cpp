#include "ops/fps.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "core/math.h"
#include "core/parallel.h"
#include "core/simd.h"

namespace cmad {
namespace {

/// Coordinates of one cloud, axis by axis, so that the loop below runs over whole vectors.
struct Axes {
  std::vector<float> x, y, z;
};

/// Lowers `nearest` by the distance to point `here`; returns the largest value left.
CMAD_SIMD float update(const float* __restrict x, const float* __restrict y,
                       const float* __restrict z, float* __restrict nearest, std::int64_t N,
                       std::int64_t here) {
  constexpr int kLanes = 64;
  const float hx = x[here], hy = y[here], hz = z[here];
  float best[kLanes];
  std::fill(best, best + kLanes, -1.0f);
  std::int64_t n = 0;
  for (; n + kLanes <= N; n += kLanes)
    for (int i = 0; i < kLanes; ++i) {
      const float dx = x[n + i] - hx, dy = y[n + i] - hy, dz = z[n + i] - hz;
      const float d = (dx * dx + dy * dy) + dz * dz;  // as dist2()
      const float m = d < nearest[n + i] ? d : nearest[n + i];
      nearest[n + i] = m;
      best[i] = m > best[i] ? m : best[i];
    }
  for (; n < N; ++n) {
    const float dx = x[n] - hx, dy = y[n] - hy, dz = z[n] - hz;
    const float d = (dx * dx + dy * dy) + dz * dz;
    const float m = d < nearest[n] ? d : nearest[n];
    nearest[n] = m;
    best[0] = m > best[0] ? m : best[0];
  }
  return *std::max_element(best, best + kLanes);
}

CMAD_SIMD std::int64_t first_equal(const float* nearest, std::int64_t N, float value) {
  constexpr int kLanes = 64;
  std::int64_t n = 0;
  for (; n + kLanes <= N; n += kLanes) {
    int found = 0;
    for (int i = 0; i < kLanes; ++i) found |= nearest[n + i] == value;
    if (found) break;
  }
  while (nearest[n] != value) ++n;
  return n;
}

/// Among the points at `value`, the one that the published kernel's tree reduction keeps.
std::int64_t published_choice(const float* nearest, std::int64_t N, float value) {
  int bits = 0;
  while (bits < 9 && (std::int64_t(2) << bits) <= N) ++bits;
  auto slot = [&](std::int64_t n) {
    std::int64_t reversed = 0;
    for (int b = 0; b < bits; ++b) reversed = reversed << 1 | (n >> b & 1);
    return reversed;
  };
  std::int64_t choice = -1, lowest = 0;
  for (std::int64_t n = 0; n < N; ++n)
    if (nearest[n] == value && (choice < 0 || slot(n) < lowest)) {
      choice = n;
      lowest = slot(n);
    }
  return choice;
}

}  // namespace

template <>
void fps<Cpu>(const Fps& p, void* stream) {
  parallel_for(p.B, 1, stream, [&](std::int64_t begin, std::int64_t end) {
    Axes axes;
    for (std::int64_t b = begin; b < end; ++b) {
      const std::int64_t N = p.ptr[b + 1] - p.ptr[b];
      const float* xyz = p.xyz + 3 * p.ptr[b];
      float* nearest = p.nearest + p.ptr[b];
      std::int64_t* index = p.index + b * p.K;
      for (std::vector<float>* axis : {&axes.x, &axes.y, &axes.z}) axis->resize(N);
      for (std::int64_t n = 0; n < N; ++n) {
        const float x = axes.x[n] = xyz[3 * n];
        const float y = axes.y[n] = xyz[3 * n + 1];
        const float z = axes.z[n] = xyz[3 * n + 2];
        // A skipped point starts below every distance, so it never becomes the farthest.
        const bool skipped = p.skip >= 0 && double((x * x + y * y) + z * z) <= p.skip;
        nearest[n] = skipped ? -1.0f : std::numeric_limits<float>::infinity();
      }
      index[0] = 0;
      for (std::int64_t k = 1; k < p.K; ++k) {
        const float far =
            update(axes.x.data(), axes.y.data(), axes.z.data(), nearest, N, index[k - 1]);
        if (far < 0)
          index[k] = 0;
        else
          index[k] =
              p.published_ties ? published_choice(nearest, N, far) : first_equal(nearest, N, far);
      }
    }
  });
}

}  // namespace cmad
