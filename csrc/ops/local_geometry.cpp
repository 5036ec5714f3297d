#include "ops/local_geometry.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/math.h"
#include "core/parallel.h"
#include "core/simd.h"
#include "ops/local_geometry_fit.h"

// A tile of the grid at a time, with what squares reach beyond it, and everything a whole row at a
// time: sums over columns of pixels move down by a row, sums over their neighbours are made of sums
// over 1, 2, 4... of them, without differences. So results do not depend on who has which tile.

namespace cmad {
namespace {

using I = std::int64_t;
constexpr I kRows = 32, kColumns = 128;

/// Adds a row of points to the columns' sums, or takes it away; sum k begins at column + k * w.
CMAD_SIMD void add_row(double* __restrict column, const double* __restrict known,
                       const double* __restrict x, const double* __restrict y,
                       const double* __restrict z, I w, I n, double sign) {
  for (I j = 0; j < n; ++j) {
    const double sx = sign * x[j], sy = sign * y[j], sz = sign * z[j];
    column[j] += sign * known[j];
    column[w + j] += sx;
    column[2 * w + j] += sy;
    column[3 * w + j] += sz;
    column[4 * w + j] += sx * x[j];
    column[5 * w + j] += sx * y[j];
    column[6 * w + j] += sy * y[j];
    column[7 * w + j] += sx * z[j];
    column[8 * w + j] += sy * z[j];
    column[9 * w + j] += sz * z[j];
  }
}

/// out[j] = the sum of line[j] to line[j + width - 1]; leaves sums of 2, 4, ... in `line`.
CMAD_SIMD void box(double* line, double* __restrict out, I n, I width) {
  std::fill(out, out + n, 0.0);
  for (I k = 1, offset = 0; k <= width; k *= 2) {
    if (width & k) {
      for (I j = 0; j < n; ++j) out[j] += line[j + offset];
      offset += k;
    }
    const I left = n + width - 2 * k;
#pragma GCC ivdep
    for (I j = 0; j < left; ++j) line[j] += line[j + k];
  }
}

CMAD_SIMD void measure_row(const double* __restrict total, const double* __restrict middle,
                           float* __restrict out, I n) {
  for (I j = 0; j < n; ++j) {
    double sum[kSquareSums], near[3];
    for (int k = 0; k < kSquareSums; ++k) sum[k] = total[k * kColumns + j];
    for (int k = 0; k < 3; ++k) near[k] = middle[k * kColumns + j];
    float five[kSquareChannels];
    measure_square(sum, near, five);
    for (int k = 0; k < kSquareChannels; ++k) out[k * kColumns + j] = five[k];
  }
}

/// A tile, from the grid's row and column on; its planes reach `halo` pixels further on each side.
struct Tile {
  const LocalGeometry& p;
  I map, row, column, rows, columns, halo;
  I w = kColumns + 2 * halo, h = kRows + 2 * halo;
  std::vector<double> plane[4] = {};  // whether there is a point; x, y, z, or 0
  std::vector<double> middle = {};    // [rows, 3, kColumns]

  const double* at(int which, I r, I c) const { return plane[which].data() + r * w + c; }
  bool has(I r, I c) const { return *at(0, r + halo, c + halo) != 0; }

  /// Takes the points, from their mean; returns whether the tile itself has any.
  bool load() {
    for (auto& values : plane) values.assign(h * w, 0.0);
    double mean[4] = {};
    for_each([&](const float* point, I i) {
      plane[0][i] = 1;
      mean[3] += 1;
      for (int k = 0; k < 3; ++k) mean[k] += point[k];
    });
    bool any = false;
    for (I r = 0; r < rows; ++r)
      for (I c = 0; c < columns; ++c) any |= has(r, c);
    if (!any) return false;
    for (int k = 0; k < 3; ++k) mean[k] /= mean[3];
    for_each([&](const float* point, I i) {
      for (int k = 0; k < 3; ++k) plane[1 + k][i] = point[k] - mean[k];
    });
    return true;
  }

  template <class F>
  void for_each(F&& f) {
    for (I r = std::max<I>(0, halo - row); r < std::min(h, p.H - row + halo); ++r)
      for (I c = std::max<I>(0, halo - column); c < std::min(w, p.W - column + halo); ++c) {
        const float* point = p.xyz + 3 * ((map * p.H + row + r - halo) * p.W + column + c - halo);
        if (!(std::isnan(point[0]) || std::isnan(point[1]) || std::isnan(point[2])))
          f(point, r * w + c);
      }
  }

  void average() {
    middle.assign(rows * 3 * kColumns, 0.0);
    for (I r = 0; r < rows; ++r)
      for (I c = 0; c < columns; ++c) {
        double sum[4] = {};
        for (I i = r + halo - 1; i <= r + halo + 1; ++i)
          for (I j = c + halo - 1; j <= c + halo + 1; ++j)
            for (int k = 0; k < 4; ++k) sum[k] += *at(k, i, j);
        for (int k = 0; k < 3; ++k) middle[(r * 3 + k) * kColumns + c] = sum[1 + k] / sum[0];
      }
  }

  void add(std::vector<double>& sums, I r, I radius, double sign) const {
    const I c = halo - radius;
    add_row(sums.data(), at(0, r, c), at(1, r, c), at(2, r, c), at(3, r, c), w,
            columns + 2 * radius, sign);
  }

  void measure(I which) {
    const I radius = p.radius[which];
    std::vector<double> sums(kSquareSums * w), line(w), total(kSquareSums * kColumns, 1.0);
    std::vector<float> out(kSquareChannels * kColumns);
    for (I r = halo - radius; r < halo + radius; ++r) add(sums, r, radius, 1);
    for (I r = 0; r < rows; ++r) {
      add(sums, r + halo + radius, radius, 1);
      for (int k = 0; k < kSquareSums; ++k) {
        std::copy_n(sums.data() + k * w, columns + 2 * radius, line.data());
        box(line.data(), total.data() + k * kColumns, columns, 2 * radius + 1);
      }
      measure_row(total.data(), middle.data() + r * 3 * kColumns, out.data(), columns);
      for (I c = 0; c < columns; ++c)
        if (has(r, c))
          for (int k = 0; k < kSquareChannels; ++k) result(r, c, which)[k] = out[k * kColumns + c];
      add(sums, r + halo - radius, radius, -1);
    }
  }

  float* result(I r, I c, I which) const {
    const I pixel = (map * p.H + row + r) * p.W + column + c;
    return p.out + (pixel * p.R + which) * kSquareChannels;
  }
};

}  // namespace

template <>
void local_geometry<Cpu>(const LocalGeometry& p, void* stream) {
  const I down = pieces(p.H, kRows), across = pieces(p.W, kColumns);
  I halo = 1;
  for (I i = 0; i < p.R; ++i) halo = std::max(halo, p.radius[i]);
  parallel_for(p.B * down * across, 1, stream, [&](I begin, I end) {
    for (I i = begin; i < end; ++i) {
      const I row = i / across % down * kRows, column = i % across * kColumns;
      Tile tile{p,      i / across / down,          row,
                column, std::min(kRows, p.H - row), std::min(kColumns, p.W - column),
                halo};
      const bool any = tile.load();
      for (I r = 0; r < tile.rows; ++r)
        for (I c = 0; c < tile.columns; ++c)
          if (!tile.has(r, c)) std::fill_n(tile.result(r, c, 0), p.R * kSquareChannels, 0.0f);
      if (!any) continue;
      tile.average();
      for (I which = 0; which < p.R; ++which) tile.measure(which);
    }
  });
}

}  // namespace cmad
