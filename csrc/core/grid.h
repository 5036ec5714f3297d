#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace cmad {

/// Points of one cloud bucketed into cubic cells: the neighbour searches look at few of them.
///
/// Points of a cell, and of neighbouring cells along x, lie one after another in `point`.
class Grid {
 public:
  /// `wanted_side` in metres; raised where it would give more than about 8 N cells, so one far
  /// point costs speed, never memory. All coordinates finite.
  Grid(const float* xyz, std::int64_t N, double wanted_side) {
    double hi[3];
    for (int a = 0; a < 3; ++a) {
      lo_[a] = N ? std::numeric_limits<double>::infinity() : 0;
      hi[a] = N ? -std::numeric_limits<double>::infinity() : 0;
    }
    for (std::int64_t n = 0; n < N; ++n)
      for (int a = 0; a < 3; ++a) {
        lo_[a] = std::min(lo_[a], double(xyz[3 * n + a]));
        hi[a] = std::max(hi[a], double(xyz[3 * n + a]));
      }
    side_ = wanted_side > 0 ? wanted_side : 1;
    const double limit = 8.0 * double(N) + 64;
    auto cells = [&] {
      double product = 1;
      for (int a = 0; a < 3; ++a) product *= std::floor((hi[a] - lo_[a]) / side_) + 1;
      return product;
    };
    while (cells() > limit) side_ *= 1.25;
    for (int a = 0; a < 3; ++a) size[a] = std::int64_t(std::floor((hi[a] - lo_[a]) / side_)) + 1;

    start.assign(size[0] * size[1] * size[2] + 1, 0);
    point.resize(N);
    std::vector<std::int64_t> cell(N);
    for (std::int64_t n = 0; n < N; ++n) {
      std::int64_t c[3];
      locate(xyz + 3 * n, c);
      cell[n] = id(c[0], c[1], c[2]);
      ++start[cell[n] + 1];
    }
    for (std::size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
    std::vector<std::int64_t> next(start.begin(), start.end() - 1);
    for (std::int64_t n = 0; n < N; ++n) point[next[cell[n]]++] = n;
  }

  /// Side that puts about `per_cell` of `N` points into each cell of a surface of this extent.
  static double surface_side(const float* xyz, std::int64_t N, double per_cell) {
    float lo[3], hi[3];
    for (int a = 0; a < 3; ++a) lo[a] = hi[a] = N ? xyz[a] : 0;
    for (std::int64_t n = 1; n < N; ++n)
      for (int a = 0; a < 3; ++a) {
        lo[a] = std::min(lo[a], xyz[3 * n + a]);
        hi[a] = std::max(hi[a], xyz[3 * n + a]);
      }
    double e[3] = {double(hi[0]) - lo[0], double(hi[1]) - lo[1], double(hi[2]) - lo[2]};
    std::sort(e, e + 3);
    const double area = e[2] * std::max(e[1], e[2] * 1e-3);
    return area > 0 ? std::sqrt(area * per_cell / double(N)) : 1;
  }

  double side() const { return side_; }
  std::int64_t id(std::int64_t x, std::int64_t y, std::int64_t z) const {
    return (z * size[1] + y) * size[0] + x;
  }
  /// The cell of a point of the cloud; for any other point the nearest cell along each axis.
  void locate(const float* p, std::int64_t* c) const {
    for (int a = 0; a < 3; ++a) {
      const double at = std::floor((double(p[a]) - lo_[a]) / side_);
      c[a] = std::int64_t(std::min(std::max(at, 0.0), double(size[a] - 1)));
    }
  }
  /// No point outside the cube of cells within `r` of cell `c` is nearer to `p` than this.
  /// Infinite when the cube holds the whole grid. A little low, to be safe against rounding.
  double reach(const float* p, const std::int64_t* c, std::int64_t r) const {
    double bound = std::numeric_limits<double>::infinity();
    for (int a = 0; a < 3; ++a) {
      if (c[a] - r > 0) bound = std::min(bound, double(p[a]) - (lo_[a] + double(c[a] - r) * side_));
      if (c[a] + r < size[a] - 1)
        bound = std::min(bound, lo_[a] + double(c[a] + r + 1) * side_ - double(p[a]));
    }
    return std::max(0.0, bound * (1 - 1e-6) - 1e-6 * side_);
  }
  /// Calls `f(begin, end)` for the runs of `point` that lie within `r` cells of cell `c`.
  template <class F>
  void runs(const std::int64_t* c, std::int64_t r, F&& f) const {
    const std::int64_t x0 = std::max<std::int64_t>(0, c[0] - r),
                       x1 = std::min(size[0] - 1, c[0] + r);
    const std::int64_t y0 = std::max<std::int64_t>(0, c[1] - r),
                       y1 = std::min(size[1] - 1, c[1] + r);
    const std::int64_t z0 = std::max<std::int64_t>(0, c[2] - r),
                       z1 = std::min(size[2] - 1, c[2] + r);
    for (std::int64_t z = z0; z <= z1; ++z)
      for (std::int64_t y = y0; y <= y1; ++y) {
        const std::int64_t begin = start[id(x0, y, z)], end = start[id(x1, y, z) + 1];
        if (begin < end) f(begin, end);
      }
  }

  std::int64_t size[3];             // cells along x, y, z
  std::vector<std::int64_t> start;  // [cells + 1] first entry of each cell in `point`
  std::vector<std::int64_t> point;  // [N] indices of the points, cell by cell, ascending in a cell

 private:
  double lo_[3];
  double side_;
};

}  // namespace cmad
