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

namespace cmad {
namespace {

using CubeId = std::array<std::int64_t, 3>;  // z, y, x: cubes of one row are neighbours when sorted

struct Cube {
  CubeId id;
  std::int64_t begin, end;  // its points, in `order`
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

}  // namespace

template <>
void clusters<Cpu>(const Clusters& p, void*) {
  const float eps2 = p.eps * p.eps;
  // A little under 1/sqrt(3), to be safe in float32. Far out a float32 coordinate is coarser than a
  // cube: points of one cube are then equal along that axis, and those of others further than eps.
  const double side = double(p.eps) * 0.577;
  std::vector<CubeId> id(p.N);
  for (std::int64_t n = 0; n < p.N; ++n)
    for (int a = 0; a < 3; ++a)
      id[n][2 - a] = std::int64_t(std::floor(double(p.xyz[3 * n + a]) / side));
  std::vector<std::int64_t> order(p.N);
  std::iota(order.begin(), order.end(), std::int64_t(0));
  std::sort(order.begin(), order.end(),
            [&](std::int64_t i, std::int64_t j) { return id[i] != id[j] ? id[i] < id[j] : i < j; });
  std::vector<float> xyz(3 * p.N);  // in cube order
  std::vector<Cube> cubes;
  for (std::int64_t i = 0; i < p.N; ++i) {
    std::copy_n(p.xyz + 3 * order[i], 3, xyz.data() + 3 * i);
    if (cubes.empty() || cubes.back().id != id[order[i]]) cubes.push_back({id[order[i]], i, i});
    cubes.back().end = i + 1;
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

  UnionFind sets(p.N);
  std::vector<std::int64_t> first_core(cubes.size(), -1);
  for (std::size_t c = 0; c < cubes.size(); ++c)
    for (std::int64_t i = cubes[c].begin; i < cubes[c].end; ++i) {
      if (!core[i]) continue;
      if (first_core[c] < 0)
        first_core[c] = i;
      else
        sets.join(first_core[c], i);
    }
  auto touch = [&](const Cube& a, const Cube& b) {
    for (std::int64_t i = a.begin; i < a.end; ++i)
      for (std::int64_t j = b.begin; core[i] && j < b.end; ++j)
        if (core[j] && near(i, j)) return true;
    return false;
  };
  for (std::size_t c = 0; c < cubes.size(); ++c)
    for (const std::int64_t k : around[c])
      if (k > std::int64_t(c) && first_core[c] >= 0 && first_core[k] >= 0 &&
          sets.root(first_core[c]) != sets.root(first_core[k]) && touch(cubes[c], cubes[k]))
        sets.join(first_core[c], first_core[k]);

  // Number the clusters in the order of their lowest core point.
  std::vector<std::int64_t> place(p.N), number(p.N, -1);
  for (std::int64_t i = 0; i < p.N; ++i) place[order[i]] = i;
  std::int64_t next = 0;
  for (std::int64_t n = 0; n < p.N; ++n) {
    const std::int64_t i = place[n];
    if (!core[i]) continue;
    std::int64_t& of_set = number[sets.root(i)];
    if (of_set < 0) of_set = next++;
    p.label[n] = of_set;
  }
  for (std::size_t c = 0; c < cubes.size(); ++c)
    for (std::int64_t i = cubes[c].begin; i < cubes[c].end; ++i) {
      if (core[i]) continue;
      std::int64_t lowest = -1;
      for (const std::int64_t k : around[c])
        for (std::int64_t j = cubes[k].begin; j < cubes[k].end; ++j) {
          if (!core[j]) continue;
          const std::int64_t label = number[sets.root(j)];
          if ((lowest < 0 || label < lowest) && near(i, j)) lowest = label;
        }
      p.label[order[i]] = lowest;
    }
}

}  // namespace cmad
