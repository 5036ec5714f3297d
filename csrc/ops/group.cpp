#include "ops/group.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "core/grid.h"
#include "core/math.h"
#include "core/parallel.h"

namespace cmad {
namespace {

/// One cloud's points, bucketed, and in the grid's order, so that candidates are read in runs.
struct Cloud {
  Cloud(const float* xyz, std::int64_t N, std::int64_t K)
      // A neighbourhood of K points spans about two cells, and 27 cells hold some 6 K points.
      : grid(xyz, N, Grid::surface_side(xyz, N, 0.5 * double(K))), sorted(3 * N) {
    for (std::int64_t i = 0; i < N; ++i)
      std::copy_n(xyz + 3 * grid.point[i], 3, sorted.data() + 3 * i);
  }
  Grid grid;
  std::vector<float> sorted;
};

}  // namespace

template <>
void group<Cpu>(const Group& p, void* stream) {
  std::vector<std::unique_ptr<const Cloud>> clouds(p.B);
  parallel_for(p.B, 1, stream, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b)
      clouds[b] = std::make_unique<const Cloud>(p.xyz + 3 * p.ptr[b], p.ptr[b + 1] - p.ptr[b], p.K);
  });
  parallel_for(p.G, 64, stream, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint64_t> keys;
    std::int64_t b = 0;
    for (std::int64_t g = begin; g < end; ++g) {
      while (p.centre_ptr[b + 1] <= g) ++b;
      const Grid& grid = clouds[b]->grid;
      const float* sorted = clouds[b]->sorted.data();
      const float* centre = p.centre + 3 * g;
      std::int64_t cell[3];
      grid.locate(centre, cell);
      auto gather = [&](std::int64_t r) {
        keys.clear();
        grid.runs(cell, r, [&](std::int64_t first, std::int64_t last) {
          for (std::int64_t i = first; i < last; ++i)
            keys.push_back(nearest_key(dist2(sorted + 3 * i, centre), grid.point[i]));
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
      for (std::int64_t k = 0; k < p.K; ++k) p.index[g * p.K + k] = key_index(keys[k]);
    }
  });
}

}  // namespace cmad
