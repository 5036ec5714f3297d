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

/// Adds rows of 33 numbers, each times its weight, as full_histogram() does. The sums stay in
/// registers: four of eight numbers, and the last.
CMAD_SIMD void add_rows(const double* __restrict rows, const I* __restrict row,
                        const double* __restrict weight, I count, double* __restrict sum) {
  typedef double Eight __attribute__((vector_size(64)));
  static_assert(kFpfhChannels == 4 * 8 + 1, "");
  Eight total[4] = {};
  double last = 0;
  for (I k = 0; k < count; ++k) {
    const double* from = rows + kFpfhChannels * row[k];
    for (int v = 0; v < 4; ++v) {
      Eight part;
      __builtin_memcpy(&part, from + 8 * v, sizeof part);
      total[v] += weight[k] * part;
    }
    last += weight[k] * from[32];
  }
  __builtin_memcpy(sum, total, sizeof total);
  sum[32] = last;
}

/// A point's neighbours that count, one column for each number of theirs.
struct Neighbours {
  explicit Neighbours(I K)
      : number(kColumns, std::vector<double>(K)), bin(3, std::vector<int>(K)) {}
  static constexpr int kColumns = 8;  // point, normal, and (y, x) of the first angle

  std::vector<std::vector<double>> number;
  std::vector<std::vector<int>> bin;
};

/// The bins of `count` pairs with one point; those of the first angle as if all were in front.
CMAD_SIMD void bins(const double* __restrict point, const double* __restrict px,
                    const double* __restrict py, const double* __restrict pz,
                    const double* __restrict nx, const double* __restrict ny,
                    const double* __restrict nz, I count, double* __restrict y,
                    double* __restrict x, int* __restrict bin0, int* __restrict bin1,
                    int* __restrict bin2) {
  const Vector p{point[0], point[1], point[2]}, n{point[3], point[4], point[5]};
  for (I k = 0; k < count; ++k) {
    const PairAngles a = pair_angles(p, n, {px[k], py[k], pz[k]}, {nx[k], ny[k], nz[k]});
    y[k] = a.y;
    x[k] = a.x;
    bin0[k] = front_bin(a.y, a.x);
    bin1[k] = fpfh_bin(a.tilt);
    bin2[k] = fpfh_bin(a.along);
  }
}

/// As simple_histogram(), many pairs at a time.
void simple_of(const Fpfh& p, I n, I first, const I* neighbour, Neighbours& near) {
  const Vector at = vector_at(p.xyz, n), own = vector_at(p.normal, n);
  auto& c = near.number;
  I count = -1;  // the first is left out
  for (I k = 0; k < p.K; ++k) {
    const I other = first + neighbour[k];
    const Vector q = vector_at(p.xyz, other), d = q - at;
    if (!(dot(d, d) < p.radius * p.radius)) continue;
    if (++count == 0) continue;
    const Vector normal = vector_at(p.normal, other);
    const double numbers[] = {q.x, q.y, q.z, normal.x, normal.y, normal.z};
    for (int i = 0; i < 6; ++i) c[i][count - 1] = numbers[i];
  }
  const double point[] = {at.x, at.y, at.z, own.x, own.y, own.z};
  auto& bin = near.bin;
  bins(point, c[0].data(), c[1].data(), c[2].data(), c[3].data(), c[4].data(), c[5].data(), count,
       c[6].data(), c[7].data(), bin[0].data(), bin[1].data(), bin[2].data());
  int times[kFpfhChannels] = {};
  for (I k = 0; k < count; ++k) {
    const double y = c[6][k], x = c[7][k];
    ++times[x > 0 ? bin[0][k] : rear_bin(y, x)];
    ++times[kFpfhBins + bin[1][k]];
    ++times[2 * kFpfhBins + bin[2][k]];
  }
  const double each = count > 0 ? 100.0 / double(count) : 0;
  for (int i = 0; i < kFpfhChannels; ++i) p.simple[kFpfhChannels * n + i] = times[i] * each;
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
    Neighbours near(p.K);
    each(p, begin, end,
         [&](I n, I first, const I* neighbour) { simple_of(p, n, first, neighbour, near); });
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
