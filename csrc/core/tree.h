#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/simd.h"

namespace cmad {

/// A box with sides along the axes; of points that lie in it.
struct Box {
  float lo[3], hi[3];
};

/// No two points of these boxes have a smaller squared distance by dist2(): the same expression,
/// and each of its roundings keeps the order.
inline float gap2(const Box& a, const Box& b) {
  float gap[3];
  for (int k = 0; k < 3; ++k)
    gap[k] = std::max(std::max(a.lo[k] - b.hi[k], b.lo[k] - a.hi[k]), 0.0f);
  return (gap[0] * gap[0] + gap[1] * gap[1]) + gap[2] * gap[2];
}

/// Boxes around the points of one cloud, halved again and again down to leaves of a few points.
///
/// Splits follow the points, not the space: far points cost nothing, nor do clouds that are dense
/// in one place and thin in another, nor queries far away.
class Tree {
 public:
  struct Node {
    Box box;
    std::int64_t begin, end;  // its points, in tree order
    std::int64_t right;       // second child; the first is the next node; 0 for a leaf
  };

  /// At most `leaf` points in each leaf. All coordinates finite.
  Tree(const float* xyz, std::int64_t N, std::int64_t leaf) : x(N), y(N), z(N), point(N) {
    std::vector<Item> items(N);
    for (std::int64_t n = 0; n < N; ++n)
      items[n] = {{xyz[3 * n], xyz[3 * n + 1], xyz[3 * n + 2]}, std::int32_t(n)};
    nodes.reserve(4 * (N / leaf) + 4);
    if (N > 0) split(items.data(), 0, N, leaf);
    for (std::int64_t n = 0; n < N; ++n) {
      x[n] = items[n].at[0];
      y[n] = items[n].at[1];
      z[n] = items[n].at[2];
      point[n] = items[n].index;
    }
  }

  /// Calls `leaf(begin, end)` for the leaves, those nearest to `query` early, that have a gap2() to
  /// it of at most `bound()`, which may fall on the way.
  template <class Bound, class Leaf>
  void search(const Box& query, Bound&& bound, Leaf&& leaf) const {
    if (nodes.empty()) return;
    struct Far {
      std::int64_t node;
      float d2;
    };
    Far stack[kDepth];
    int waiting = 0;
    stack[waiting++] = {0, gap2(query, nodes[0].box)};
    while (waiting > 0) {
      Far at = stack[--waiting];
      if (at.d2 > bound()) continue;
      while (nodes[at.node].right != 0) {
        Far near{at.node + 1, gap2(query, nodes[at.node + 1].box)};
        Far far{nodes[at.node].right, gap2(query, nodes[nodes[at.node].right].box)};
        if (far.d2 < near.d2) std::swap(near, far);
        stack[waiting++] = far;
        at = near;
      }
      if (at.d2 <= bound()) leaf(nodes[at.node].begin, nodes[at.node].end);
    }
  }

  std::vector<Node> nodes;          // the first is the whole cloud's
  std::vector<float> x, y, z;       // [N] coordinates in tree order
  std::vector<std::int32_t> point;  // [N] index of each

 private:
  struct Item {
    float at[3];
    std::int32_t index;
  };
  // Each child has at most 3/4 of the points: 2^31 points end after 75 splits.
  static constexpr int kDepth = 80;

  static Box around(const Item* items, std::int64_t count) {
    Box box;
    for (int k = 0; k < 3; ++k) box.lo[k] = box.hi[k] = items[0].at[k];
    for (std::int64_t i = 1; i < count; ++i)
      for (int k = 0; k < 3; ++k) {
        box.lo[k] = std::min(box.lo[k], items[i].at[k]);
        box.hi[k] = std::max(box.hi[k], items[i].at[k]);
      }
    return box;
  }

  void split(Item* items, std::int64_t begin, std::int64_t end, std::int64_t leaf) {
    const std::int64_t self = std::int64_t(nodes.size()), count = end - begin;
    nodes.push_back({around(items + begin, count), begin, end, 0});
    if (count <= leaf) return;
    const Box box = nodes[self].box;
    int axis = 0;
    for (int k = 1; k < 3; ++k)
      if (box.hi[k] - box.lo[k] > box.hi[axis] - box.lo[axis]) axis = k;
    // The middle of the box is cheaper than the median, and as good where it divides fairly.
    const float middle = box.lo[axis] + (box.hi[axis] - box.lo[axis]) / 2;
    std::int64_t cut = std::partition(items + begin, items + end,
                                      [&](const Item& i) { return i.at[axis] < middle; }) -
                       items;
    if (std::min(cut - begin, end - cut) < count / 4) {
      cut = begin + count / 2;
      std::nth_element(items + begin, items + cut, items + end,
                       [&](const Item& a, const Item& b) { return a.at[axis] < b.at[axis]; });
    }
    split(items, begin, cut, leaf);
    nodes[self].right = std::int64_t(nodes.size());
    split(items, cut, end, leaf);
  }
};

}  // namespace cmad
