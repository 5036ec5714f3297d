#include "ops/smooth.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "core/simd.h"

namespace cmad {
namespace {

/// The pixel that stands for position `i` of a line of length `n`, or -1 for zero.
std::int64_t source(std::int64_t i, std::int64_t n, bool mirror) {
  if (i >= 0 && i < n) return i;
  if (!mirror) return -1;
  const std::int64_t m = ((i % (2 * n)) + 2 * n) % (2 * n);
  return m < n ? m : 2 * n - 1 - m;
}

CMAD_SIMD void add(float* __restrict out, const float* __restrict in, float weight,
                   std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] += weight * in[i];
}

}  // namespace

template <>
void smooth<Cpu>(const Smooth& p, void* stream) {
  const std::int64_t radius = p.T / 2;
  Threads<> threads(stream);
  threads.run(p.B * p.H, 64, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> line(p.W + 2 * radius);
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t i = 0; i < std::int64_t(line.size()); ++i) {
        const std::int64_t from = source(i - radius, p.W, p.mirror);
        line[i] = from < 0 ? 0.0f : p.map[row * p.W + from];
      }
      float* out = p.scratch + row * p.W;
      std::fill(out, out + p.W, 0.0f);
      for (std::int64_t t = 0; t < p.T; ++t) add(out, line.data() + t, p.kernel[t], p.W);
    }
  });
  threads.run(p.B * p.H, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      float* out = p.out + row * p.W;
      std::fill(out, out + p.W, 0.0f);
      const std::int64_t map = row / p.H, i = row % p.H;
      for (std::int64_t t = 0; t < p.T; ++t) {
        const std::int64_t from = source(i + t - radius, p.H, p.mirror);
        if (from >= 0) add(out, p.scratch + (map * p.H + from) * p.W, p.kernel[t], p.W);
      }
    }
  });
}

}  // namespace cmad
