#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/math.h"

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
    std::int64_t first;       // the lowest index of its points
  };

  /// At most `leaf` points in each leaf, or more where all of them are equal. All coordinates
  /// finite.
  Tree(const float* xyz, std::int64_t N, std::int64_t leaf) : x(N), y(N), z(N), point(N) {
    std::vector<Item> items(N), spare(N);
    for (std::int64_t n = 0; n < N; ++n)
      items[n] = {{xyz[3 * n], xyz[3 * n + 1], xyz[3 * n + 2]}, std::int32_t(n)};
    nodes.reserve(4 * (N / leaf) + 4);
    if (N > 0) split(items.data(), spare.data(), 0, N, leaf);
    for (std::int64_t n = 0; n < N; ++n) {
      x[n] = items[n].at[0];
      y[n] = items[n].at[1];
      z[n] = items[n].at[2];
      point[n] = items[n].index;
    }
  }

  /// Calls `leaf(begin, end)` for the leaves, those nearest to `query` early, that may hold a key
  /// of at most `bound()`, which may fall on the way: no point of a node has a smaller key than its
  /// gap2() to the query with its lowest index.
  template <class Bound, class Leaf>
  void search(const Box& query, Bound&& bound, Leaf&& leaf) const {
    if (nodes.empty()) return;
    struct Far {
      std::int64_t node;
      std::uint64_t key;
    };
    const auto with_key = [&](std::int64_t node) {
      return Far{node, nearest_key(gap2(query, nodes[node].box), nodes[node].first)};
    };
    Far stack[kDepth];
    int waiting = 0;
    stack[waiting++] = with_key(0);
    while (waiting > 0) {
      Far at = stack[--waiting];
      if (at.key > bound()) continue;
      while (nodes[at.node].right != 0) {
        Far near = with_key(at.node + 1), far = with_key(nodes[at.node].right);
        if (far.key < near.key) std::swap(near, far);
        stack[waiting++] = far;
        at = near;
      }
      if (at.key <= bound()) leaf(nodes[at.node].begin, nodes[at.node].end);
    }
  }

  std::vector<Node> nodes;          // the first is the whole cloud's
  std::vector<float> x, y, z;       // [N] coordinates in tree order
  std::vector<std::int32_t> point;  // [N] index of each, ascending within a leaf

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

  /// Puts the items for which `left` holds first, each half in its old order; returns how many
  /// they are. Without branches, which would be taken at random.
  template <class Left>
  static std::int64_t part(Item* items, Item* spare, std::int64_t count, Left&& left) {
    std::int64_t l = 0, r = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const Item item = items[i];
      const bool first = left(item);
      items[l] = item;
      spare[r] = item;
      l += first;
      r += !first;
    }
    std::copy(spare, spare + r, items + l);
    return l;
  }

  void split(Item* items, Item* spare, std::int64_t begin, std::int64_t end, std::int64_t leaf) {
    const std::int64_t self = std::int64_t(nodes.size()), count = end - begin;
    const Box box = around(items + begin, count);
    nodes.push_back({box, begin, end, 0, items[begin].index});
    if (count <= leaf) return;
    int axis = 0;
    for (int k = 1; k < 3; ++k)
      if (box.hi[k] - box.lo[k] > box.hi[axis] - box.lo[axis]) axis = k;
    if (box.lo[axis] == box.hi[axis]) return;
    // The middle of the box is cheaper than the median, and as good where it divides fairly.
    const float middle = box.lo[axis] + (box.hi[axis] - box.lo[axis]) / 2;
    Item* own = items + begin;
    std::int64_t left = 0;
    for (std::int64_t i = 0; i < count; ++i) left += own[i].at[axis] < middle;
    if (std::min(left, count - left) >= count / 4)
      part(own, spare, count, [&](const Item& i) { return i.at[axis] < middle; });
    else
      left = halve(own, spare, count, axis);
    split(items, spare, begin, begin + left, leaf);
    nodes[self].right = std::int64_t(nodes.size());
    split(items, spare, begin + left, end, leaf);
  }

  /// As part(), at the median.
  static std::int64_t halve(Item* items, Item* spare, std::int64_t count, int axis) {
    std::vector<float> at(count);
    for (std::int64_t i = 0; i < count; ++i) at[i] = items[i].at[axis];
    std::nth_element(at.begin(), at.begin() + count / 2, at.end());
    const float median = at[count / 2];
    std::int64_t equal = count / 2;  // of those at the median, so many go left
    for (std::int64_t i = 0; i < count; ++i) equal -= items[i].at[axis] < median;
    return part(items, spare, count, [&](const Item& i) {
      return i.at[axis] < median || (i.at[axis] == median && equal-- > 0);
    });
  }
};

}  // namespace cmad
