#include "ops/three_nn.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "core/grid.h"
#include "core/math.h"
#include "core/parallel.h"

namespace cmad {
namespace {

constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

void insert(std::uint64_t* best, std::uint64_t key) {
  if (key >= best[2]) return;
  best[2] = key;
  if (best[2] < best[1]) std::swap(best[1], best[2]);
  if (best[1] < best[0]) std::swap(best[0], best[1]);
}

}  // namespace

template <>
void three_nn<Cpu>(const ThreeNn& p, void* stream) {
  std::vector<std::unique_ptr<const Grid>> grids(p.B);
  parallel_for(p.B, 1, stream, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const float* centre = p.centre + 3 * p.centre_ptr[b];
      const std::int64_t M = p.centre_ptr[b + 1] - p.centre_ptr[b];
      // Two centres a cell: three of them are then nearly always found within one cell around.
      grids[b] = std::make_unique<const Grid>(centre, M, Grid::surface_side(centre, M, 2));
    }
  });
  parallel_for(p.N, 1024, stream, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t b = 0;
    for (std::int64_t n = begin; n < end; ++n) {
      while (p.ptr[b + 1] <= n) ++b;
      const Grid& grid = *grids[b];
      const float* centre = p.centre + 3 * p.centre_ptr[b];
      const float* point = p.xyz + 3 * n;
      std::int64_t cell[3];
      grid.locate(point, cell);
      std::uint64_t best[3];
      auto search = [&](std::int64_t r) {
        std::fill(best, best + 3, kNone);
        grid.runs(cell, r, [&](std::int64_t first, std::int64_t last) {
          for (std::int64_t i = first; i < last; ++i)
            insert(best, nearest_key(dist2(centre + 3 * grid.point[i], point), grid.point[i]));
        });
        const double reach = grid.reach(point, cell, r);
        if (reach == std::numeric_limits<double>::infinity()) return true;
        return best[2] != kNone && double(key_dist2(best[2])) < reach * reach;
      };
      for (std::int64_t r = 1; !search(r); ++r) {
      }
      double weight[3], sum = 0;
      for (int j = 0; j < 3; ++j) {
        weight[j] = best[j] == kNone ? 0 : 1 / (double(key_dist2(best[j])) + 1e-8);
        sum += weight[j];
      }
      for (int j = 0; j < 3; ++j) {
        p.index[3 * n + j] = best[j] == kNone ? 0 : key_index(best[j]);
        p.weight[3 * n + j] = float(weight[j] / sum);
      }
    }
  });
}

}  // namespace cmad
