#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "core/math.h"

namespace cmad {

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
  Tree(const float* xyz, std::int64_t N, std::int64_t leaf)
      : x(N), y(N), z(N), point(N), leaf_(leaf), items_(new Item[N]), spare_(new Item[N]) {
    for (std::int64_t n = 0; n < N; ++n)
      items_[n] = {{xyz[3 * n], xyz[3 * n + 1], xyz[3 * n + 2]}, std::int32_t(n)};
    nodes.reserve(4 * (N / leaf) + 4);
    if (N > 0) split(0, N);
    for (std::int64_t n = 0; n < N; ++n) {
      x[n] = items_[n].at[0];
      y[n] = items_[n].at[1];
      z[n] = items_[n].at[2];
      point[n] = items_[n].index;
    }
    items_.reset();
    spare_.reset();
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
  std::vector<std::int32_t> point;  // [N] index of each, ascending among equal points

 private:
  struct Item {
    float at[3];
    std::int32_t index;
  };
  // Cells along an axis of a grid that takes the place of eight splits, and the points it is for.
  static constexpr int kSide = 16, kCells = kSide * kSide;
  static constexpr std::int64_t kMany = 1024;
  // Eight splits, or one, leave at most 3/4 of the points: 2^31 points end after 600.
  static constexpr int kDepth = 600;

  /// A node of these points without children.
  static Node node_of(const Item* items, std::int64_t begin, std::int64_t end) {
    Node node{{}, begin, end, 0, items[begin].index};
    for (int k = 0; k < 3; ++k) node.box.lo[k] = node.box.hi[k] = items[begin].at[k];
    for (std::int64_t i = begin + 1; i < end; ++i) {
      for (int k = 0; k < 3; ++k) {
        node.box.lo[k] = std::min(node.box.lo[k], items[i].at[k]);
        node.box.hi[k] = std::max(node.box.hi[k], items[i].at[k]);
      }
      node.first = std::min<std::int64_t>(node.first, items[i].index);
    }
    return node;
  }

  // Every way to split keeps the order of equal points.

  void split(std::int64_t begin, std::int64_t end) {
    const std::int64_t self = std::int64_t(nodes.size()), count = end - begin;
    nodes.push_back(node_of(items_.get(), begin, end));
    if (count <= leaf_) return;
    const Box box = nodes[self].box;
    int axis[3] = {0, 1, 2};
    float extent[3];
    for (int k = 0; k < 3; ++k) extent[k] = box.hi[k] - box.lo[k];
    std::sort(axis, axis + 3, [&](int a, int b) { return extent[a] > extent[b]; });
    if (extent[axis[0]] == 0) return;
    const bool finite = extent[axis[0]] <= std::numeric_limits<float>::max();
    if (count >= kMany && finite && split_by_grid(self, axis[0], axis[1])) return;
    // The middle of the box is cheaper than the median, and as good where it divides fairly.
    const float middle = box.lo[axis[0]] + extent[axis[0]] / 2;
    Item* items = &items_[begin];
    std::int64_t left = 0;
    for (std::int64_t i = 0; i < count; ++i) left += items[i].at[axis[0]] < middle;
    if (std::min(left, count - left) >= count / 4)
      part(items, count, [&](const Item& i) { return i.at[axis[0]] < middle; });
    else
      left = halve(items, count, axis[0]);
    split(begin, begin + left);
    nodes[self].right = std::int64_t(nodes.size());
    split(begin + left, end);
  }

  /// Puts the items for which `left` holds first. Without branches, which would be taken at random.
  template <class Left>
  void part(Item* items, std::int64_t count, Left&& left) {
    std::int64_t l = 0, r = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const Item item = items[i];
      const bool first = left(item);
      items[l] = item;
      spare_[r] = item;
      l += first;
      r += !first;
    }
    std::copy(&spare_[0], &spare_[r], items + l);
  }

  /// As part(), at the median; returns how many come first.
  std::int64_t halve(Item* items, std::int64_t count, int axis) {
    std::vector<float> at(count);
    for (std::int64_t i = 0; i < count; ++i) at[i] = items[i].at[axis];
    std::nth_element(at.begin(), at.begin() + count / 2, at.end());
    const float median = at[count / 2];
    std::int64_t equal = count / 2;  // of those at the median, so many go left
    for (std::int64_t i = 0; i < count; ++i) equal -= items[i].at[axis] < median;
    part(items, count, [&](const Item& i) {
      return i.at[axis] < median || (i.at[axis] == median && equal-- > 0);
    });
    return count / 2;
  }

  /// Sorts the points of a node into the cells of a grid, whose halves, and theirs, are its
  /// children. Returns false and does nothing if one cell has more than half of them.
  bool split_by_grid(std::int64_t self, int u, int v) {
    const Node node = nodes[self];
    const std::int64_t count = node.end - node.begin;
    Item* items = &items_[node.begin];
    const auto per_metre = [&](int k) {
      const float cells = kSide / (node.box.hi[k] - node.box.lo[k]);
      return cells <= std::numeric_limits<float>::max() ? cells : 0;
    };
    const float lo[] = {node.box.lo[u], node.box.lo[v]}, scale[] = {per_metre(u), per_metre(v)};
    std::vector<std::uint8_t> cell(count);
    std::int64_t start[kCells + 1] = {};
    for (std::int64_t i = 0; i < count; ++i) {
      const int a = std::min(int((items[i].at[u] - lo[0]) * scale[0]), kSide - 1);
      const int b = std::min(int((items[i].at[v] - lo[1]) * scale[1]), kSide - 1);
      cell[i] = std::uint8_t(kSpread[a] << 1 | kSpread[b]);
      ++start[cell[i] + 1];
    }
    if (*std::max_element(start, start + kCells + 1) > count / 2) return false;
    for (int c = 0; c < kCells; ++c) start[c + 1] += start[c];
    std::int64_t next[kCells];
    std::copy(start, start + kCells, next);
    for (std::int64_t i = 0; i < count; ++i) spare_[next[cell[i]]++] = items[i];
    std::copy(&spare_[0], &spare_[count], items);
    for (std::int64_t& s : start) s += node.begin;
    halves(self, start, 0, kCells);
    return true;
  }

  /// Makes the children of a node that holds what is in these cells, both halves of which hold any.
  void halves(std::int64_t self, const std::int64_t* start, int begin, int end) {
    const int middle = (begin + end) / 2;
    cells(start, begin, middle);
    nodes[self].right = std::int64_t(nodes.size());
    cells(start, middle, end);
  }

  /// Makes a node of what is in these cells, one of which holds any.
  void cells(const std::int64_t* start, int begin, int end) {
    while (end - begin > 1) {
      const int middle = (begin + end) / 2;
      if (start[middle] == start[begin])
        begin = middle;
      else if (start[middle] == start[end])
        end = middle;
      else
        break;
    }
    if (end - begin == 1 || start[end] - start[begin] <= leaf_)
      return split(start[begin], start[end]);
    const std::int64_t self = std::int64_t(nodes.size());
    nodes.push_back({{}, start[begin], start[end], 0, 0});
    halves(self, start, begin, end);
    const Node &a = nodes[self + 1], &b = nodes[nodes[self].right];
    for (int k = 0; k < 3; ++k) {
      nodes[self].box.lo[k] = std::min(a.box.lo[k], b.box.lo[k]);
      nodes[self].box.hi[k] = std::max(a.box.hi[k], b.box.hi[k]);
    }
    nodes[self].first = std::min(a.first, b.first);
  }

  // The bits of a cell's number along one axis, every other bit left for the other axis.
  static constexpr std::uint8_t kSpread[kSide] = {0,  1,  4,  5,  16, 17, 20, 21,
                                                  64, 65, 68, 69, 80, 81, 84, 85};
  std::int64_t leaf_;
  std::unique_ptr<Item[]> items_, spare_;  // while the tree grows
};

}  // namespace cmad
