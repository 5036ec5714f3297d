#include "ops/clusters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/math.h"

// Points are sorted into cubes so small that all points of a cube are within eps of each other:
// a cube with min_points points holds only core points, of one cluster, and needs no counting.
// On a surface sampled every few tenths of eps nearly every cube is like that, so what is left is
// to join neighbouring cubes, which ends at the first pair found. Exact for any cloud.
//
// Neighbours in an image mostly share a cube, so what is sorted are runs of them.

namespace cmad {
namespace {

using CubeId = std::array<std::int64_t, 3>;  // z, y, x: cubes of one row are neighbours when sorted

struct Run {
  CubeId id;
  std::int64_t begin, end;  // successive points of one cube, as a camera gives them
};

struct Cube {
  CubeId id;
  std::int64_t begin, end;          // its points, in `order`
  std::int64_t core = -1;           // the first of its core points; all of them are of one cluster
  float low[3] = {}, high[3] = {};  // corners of the box around its points
};

class UnionFind {
 public:
  explicit UnionFind(std::int64_t n) : parent_(n) {
    std::iota(parent_.begin(), parent_.end(), std::int64_t(0));
  }
  std::int64_t root(std::int64_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(std::int64_t i, std::int64_t j) { parent_[root(j)] = root(i); }

 private:
  std::vector<std::int64_t> parent_;
};

std::int64_t floor_of(double x) {
  const auto whole = std::int64_t(x);
  return whole - (double(whole) > x);
}

/// Squared distance from a point to a cube's box: no more than that to any of its points, but for
/// rounding.
double outside2(const float* p, const Cube& cube) {
  double sum = 0;
  for (int a = 0; a < 3; ++a) {
    const double d = std::max({double(cube.low[a]) - p[a], double(p[a]) - cube.high[a], 0.0});
    sum += d * d;
  }
  return sum;
}

}  // namespace

template <>
void clusters<Cpu>(const Clusters& p, void*) {
  const float eps2 = p.eps * p.eps;
  // A little under 1/sqrt(3), to be safe in float32. Far out a float32 coordinate is coarser than a
  // cube: points of one cube are then equal along that axis, and those of others further than eps.
  const double side = double(p.eps) * 0.577;
  std::vector<Run> runs;
  for (std::int64_t n = 0; n < p.N; ++n) {
    CubeId id;
    for (int a = 0; a < 3; ++a) id[2 - a] = floor_of(double(p.xyz[3 * n + a]) / side);
    if (runs.empty() || runs.back().id != id) runs.push_back({id, n, n});
    runs.back().end = n + 1;
  }
  std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) {
    return a.id != b.id ? a.id < b.id : a.begin < b.begin;
  });
  std::vector<std::int64_t> order(p.N);
  std::vector<float> xyz(3 * p.N);  // in cube order
  std::vector<Cube> cubes;
  std::int64_t filled = 0;
  for (const Run& run : runs) {
    const std::int64_t size = run.end - run.begin;
    if (cubes.empty() || cubes.back().id != run.id) cubes.push_back({run.id, filled, filled});
    std::iota(order.begin() + filled, order.begin() + filled + size, run.begin);
    std::copy_n(p.xyz + 3 * run.begin, 3 * size, xyz.data() + 3 * filled);
    cubes.back().end = filled += size;
  }
  for (Cube& cube : cubes)
    for (int a = 0; a < 3; ++a) {
      cube.low[a] = cube.high[a] = xyz[3 * cube.begin + a];
      for (std::int64_t i = cube.begin + 1; i < cube.end; ++i) {
        cube.low[a] = std::min(cube.low[a], xyz[3 * i + a]);
        cube.high[a] = std::max(cube.high[a], xyz[3 * i + a]);
      }
    }
  auto near = [&](std::int64_t i, std::int64_t j) {
    return dist2(xyz.data() + 3 * i, xyz.data() + 3 * j) <= eps2;
  };
  // Cubes that can hold points within eps of cube `c`, itself included: two steps along each axis.
  std::vector<std::vector<std::int64_t>> around(cubes.size());
  for (std::size_t c = 0; c < cubes.size(); ++c)
    for (std::int64_t z = -2; z <= 2; ++z)
      for (std::int64_t y = -2; y <= 2; ++y) {
        const CubeId from{cubes[c].id[0] + z, cubes[c].id[1] + y, cubes[c].id[2] - 2};
        auto it =
            std::lower_bound(cubes.begin(), cubes.end(), from,
                             [](const Cube& cube, const CubeId& key) { return cube.id < key; });
        for (; it != cubes.end() && it->id[0] == from[0] && it->id[1] == from[1] &&
               it->id[2] <= from[2] + 4;
             ++it)
          around[c].push_back(it - cubes.begin());
      }

  std::vector<char> core(p.N, 0);
  for (std::size_t c = 0; c < cubes.size(); ++c)
    for (std::int64_t i = cubes[c].begin; i < cubes[c].end; ++i) {
      std::int64_t count = cubes[c].end - cubes[c].begin;
      for (std::size_t k = 0; k < around[c].size() && count < p.min_points; ++k) {
        const Cube& other = cubes[around[c][k]];
        if (other.begin == cubes[c].begin) continue;
        for (std::int64_t j = other.begin; j < other.end && count < p.min_points; ++j)
          count += near(i, j);
      }
      core[i] = count >= p.min_points;
    }

  UnionFind sets(std::int64_t(cubes.size()));
  for (Cube& cube : cubes) {
    const auto first = std::find(core.begin() + cube.begin, core.begin() + cube.end, char(1));
    if (first != core.begin() + cube.end) cube.core = first - core.begin();
  }
  const double reach2 = 1.00001 * double(eps2);  // beyond eps for certain
  auto touch = [&](const Cube& a, const Cube& b) {
    for (std::int64_t i = a.core; i < a.end; ++i) {
      if (!core[i] || outside2(xyz.data() + 3 * i, b) > reach2) continue;
      for (std::int64_t j = b.core; j < b.end; ++j)
        if (core[j] && near(i, j)) return true;
    }
    return false;
  };
  // Cubes side by side first: those two steps apart are then mostly joined already.
  for (const int steps : {1, 2})
    for (std::int64_t c = 0; c < std::int64_t(cubes.size()); ++c)
      for (const std::int64_t k : around[c]) {
        std::int64_t apart = 0;
        for (int a = 0; a < 3; ++a)
          apart = std::max(apart, std::abs(cubes[k].id[a] - cubes[c].id[a]));
        if (k > c && apart == steps && cubes[c].core >= 0 && cubes[k].core >= 0 &&
            sets.root(c) != sets.root(k) && touch(cubes[c], cubes[k]))
          sets.join(c, k);
      }

  // Number the clusters in the order of their lowest core point, which is the first of its cube.
  std::vector<std::int64_t> by_core, number(cubes.size(), -1);
  for (std::int64_t c = 0; c < std::int64_t(cubes.size()); ++c)
    if (cubes[c].core >= 0) by_core.push_back(c);
  std::sort(by_core.begin(), by_core.end(), [&](std::int64_t a, std::int64_t b) {
    return order[cubes[a].core] < order[cubes[b].core];
  });
  std::int64_t next = 0;
  for (const std::int64_t c : by_core) {
    std::int64_t& of_set = number[sets.root(c)];
    if (of_set < 0) of_set = next++;
  }
  for (const std::int64_t c : by_core) number[c] = number[sets.root(c)];
  for (std::size_t c = 0; c < cubes.size(); ++c)
    for (std::int64_t i = cubes[c].begin; i < cubes[c].end; ++i) {
      std::int64_t lowest = core[i] ? number[c] : -1;
      for (std::size_t n = 0; n < around[c].size() && !core[i]; ++n) {
        const std::int64_t k = around[c][n];
        if (cubes[k].core < 0 || (lowest >= 0 && number[k] >= lowest)) continue;
        for (std::int64_t j = cubes[k].core; j < cubes[k].end; ++j)
          if (core[j] && near(i, j)) {
            lowest = number[k];
            break;
          }
      }
      p.label[order[i]] = lowest;
    }
}

}  // namespace cmad
