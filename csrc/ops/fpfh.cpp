#include "ops/fpfh.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "core/simd.h"
#include "ops/fpfh_point.h"

// Three passes over the points: normals, simple histograms, whole ones.

namespace cmad {
namespace {

using I = std::int64_t;

/// Calls `f(n, first, neighbours)` for some points; `first` is where a point's cloud begins.
template <class F>
void each(const Fpfh& p, I begin, I end, F&& f) {
  I b = 0;
  for (I n = begin; n < end; ++n) {
    while (p.ptr[b + 1] <= n) ++b;
    f(n, p.ptr[b], p.index + n * p.K);
  }
}

/// Adds rows of 33 numbers, each times its weight, as full_histogram() does.
CMAD_SIMD void add_rows(const double* __restrict rows, const I* __restrict row,
                        const double* __restrict weight, I count, double* __restrict sum) {
  double total[kFpfhChannels] = {};
  for (I k = 0; k < count; ++k) {
    const double* __restrict from = rows + kFpfhChannels * row[k];
    for (int c = 0; c < kFpfhChannels; ++c) total[c] += weight[k] * from[c];
  }
  std::copy(total, total + kFpfhChannels, sum);
}

}  // namespace

template <>
void fpfh<Cpu>(const Fpfh& p, void* stream) {
  Threads<> threads(stream);
  threads.run(p.N, 256, [&](I begin, I end) {
    each(p, begin, end, [&](I n, I first, const I* neighbour) {
      const I count = std::min(p.K, p.normal_neighbours);
      const Vector v = normal_of(p.xyz, n, first, neighbour, count, p.normal_radius);
      p.normal[3 * n] = v.x;
      p.normal[3 * n + 1] = v.y;
      p.normal[3 * n + 2] = v.z;
    });
  });
  threads.run(p.N, 64, [&](I begin, I end) {
    each(p, begin, end, [&](I n, I first, const I* neighbour) {
      double* out = p.simple + kFpfhChannels * n;
      simple_histogram(p.xyz, n, first, neighbour, p.K, p.radius, p.normal, out);
    });
  });
  threads.run(p.N, 128, [&](I begin, I end) {
    std::vector<I> row(p.K);
    std::vector<double> weight(p.K);
    each(p, begin, end, [&](I n, I first, const I* neighbour) {
      const I count = weigh(p.xyz, n, first, neighbour, p.K, p.radius, [&](I k, I other, double w) {
        row[k] = other;
        weight[k] = w;
      });
      double sum[kFpfhChannels];
      add_rows(p.simple, row.data(), weight.data(), count, sum);
      double* out = p.out + kFpfhChannels * n;
      add_own(sum, p.simple, n, out);
    });
  });
}

}  // namespace cmad
