#include "ops/group.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "core/grid.h"
#include "core/math.h"
#include "core/parallel.h"

namespace cmad {
namespace {

/// The points of a cloud in the grid's order, so that the candidates of a centre are read in runs.
std::vector<float> in_grid_order(const Grid& grid, const float* xyz) {
  std::vector<float> sorted(3 * grid.point.size());
  for (std::size_t i = 0; i < grid.point.size(); ++i)
    std::copy_n(xyz + 3 * grid.point[i], 3, sorted.data() + 3 * i);
  return sorted;
}

}  // namespace

template <>
void group<Cpu>(const Group& p, void* stream) {
  if (p.G == 0 || p.K == 0) return;
  for (std::int64_t b = 0; b < p.B; ++b) {
    const float* xyz = p.xyz + 3 * b * p.N;
    // A neighbourhood of K points then spans about two cells, and 27 cells hold some 6 K points.
    const Grid grid(xyz, p.N, Grid::surface_side(xyz, p.N, 0.5 * double(p.K)));
    const std::vector<float> sorted = in_grid_order(grid, xyz);
    parallel_for(p.G, 64, stream, [&](std::int64_t begin, std::int64_t end) {
      std::vector<std::uint64_t> keys;
      for (std::int64_t g = begin; g < end; ++g) {
        const float* centre = p.centre + 3 * (b * p.G + g);
        std::int64_t cell[3];
        grid.locate(centre, cell);
        auto gather = [&](std::int64_t r) {
          keys.clear();
          grid.runs(cell, r, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t i = first; i < last; ++i)
              keys.push_back(nearest_key(dist2(sorted.data() + 3 * i, centre), grid.point[i]));
          });
          if (std::int64_t(keys.size()) < p.K) return false;
          std::nth_element(keys.begin(), keys.begin() + (p.K - 1), keys.end());
          const double reach = grid.reach(centre, cell, r);
          if (reach == std::numeric_limits<double>::infinity()) return true;
          return double(key_dist2(keys[p.K - 1])) < reach * reach;
        };
        for (std::int64_t r = 1; !gather(r); r += (r + 1) / 2) {
        }
        std::sort(keys.begin(), keys.begin() + p.K);
        std::int64_t* index = p.index + (b * p.G + g) * p.K;
        for (std::int64_t k = 0; k < p.K; ++k) index[k] = key_index(keys[k]);
      }
    });
  }
}

}  // namespace cmad
