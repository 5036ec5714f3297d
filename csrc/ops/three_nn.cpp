#include "ops/three_nn.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "core/math.h"
#include "core/parallel.h"
#include "core/simd.h"
#include "core/tree.h"

// Points that lie together search together: the points are put into a tree as the centres are, and
// each of its leaves takes one walk through the tree of centres, in which every centre met is
// compared with all points of the leaf at once.

namespace cmad {
namespace {

constexpr std::int64_t kLeaf = 8;      // centres
constexpr int kBlock = 16;             // points that search together
constexpr std::int64_t kPiece = 8192;  // points of one tree: it stays in the cache
constexpr float kFar = std::numeric_limits<float>::infinity();
// Above every key; signed, as vectors compare signed integers.
constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();

/// Points and the keys of the three centres nearest to each so far, in order.
struct Block {
  float x[kBlock], y[kBlock], z[kBlock];
  std::int64_t first[kBlock], second[kBlock], third[kBlock];
};

/// Compares the centres of a leaf with the points of a block.
CMAD_SIMD void compare(Block& block, const Tree& centres, std::int64_t begin, std::int64_t end) {
  for (std::int64_t c = begin; c < end; ++c) {
    const float x = centres.x[c], y = centres.y[c], z = centres.z[c];
    const std::int64_t index = centres.point[c];
    float d2[kBlock];
    std::int32_t bits[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      const float dx = x - block.x[i], dy = y - block.y[i], dz = z - block.z[i];
      d2[i] = (dx * dx + dy * dy) + dz * dz;  // as dist2()
    }
    std::memcpy(bits, d2, sizeof bits);
    for (int i = 0; i < kBlock; ++i) {
      const std::int64_t key = std::int64_t(bits[i]) << 32 | index;  // as nearest_key()
      const std::int64_t a = std::max(block.first[i], key);
      block.first[i] = std::min(block.first[i], key);
      const std::int64_t b = std::max(block.second[i], a);
      block.second[i] = std::min(block.second[i], a);
      block.third[i] = std::min(block.third[i], b);
    }
  }
}

float dist2_of(std::int64_t key) { return key == kNone ? kFar : key_dist2(std::uint64_t(key)); }

/// Finds the centres nearest to the points of a leaf.
Block search(const Tree& centres, const Tree& points, const Tree::Node& leaf) {
  Block block;
  for (std::int64_t i = 0; i < kBlock; ++i) {
    const std::int64_t at = std::min(leaf.begin + i, leaf.end - 1);  // the last in unused places
    block.x[i] = points.x[at];
    block.y[i] = points.y[at];
    block.z[i] = points.z[at];
    block.first[i] = block.second[i] = block.third[i] = kNone;
  }
  std::int64_t bound = kNone;
  centres.search(
      leaf.box, [&] { return std::uint64_t(bound); },
      [&](std::int64_t begin, std::int64_t end) {
        // More than kLeaf are all equal, and come in order.
        compare(block, centres, begin, end - begin > kLeaf ? begin + 3 : end);
        bound = *std::max_element(block.third, block.third + kBlock);
      });
  return block;
}

void write(const ThreeNn& p, std::int64_t n, const std::int64_t (&keys)[3]) {
  double weight[3], sum = 0;
  for (int j = 0; j < 3; ++j) {
    weight[j] = keys[j] == kNone ? 0 : 1 / (double(dist2_of(keys[j])) + 1e-8);
    sum += weight[j];
  }
  for (int j = 0; j < 3; ++j) {
    p.index[3 * n + j] = keys[j] == kNone ? 0 : key_index(std::uint64_t(keys[j]));
    p.weight[3 * n + j] = float(weight[j] / sum);
  }
}

}  // namespace

template <>
void three_nn<Cpu>(const ThreeNn& p, void* stream) {
  Threads<> threads(stream);
  std::vector<std::unique_ptr<const Tree>> centres(p.B);
  threads.run(p.B, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b)
      centres[b] = std::make_unique<const Tree>(p.centre + 3 * p.centre_ptr[b],
                                                p.centre_ptr[b + 1] - p.centre_ptr[b], kLeaf);
  });
  threads.run(p.N, 2048, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t b = 0;
    for (std::int64_t n = begin; n < end;) {
      while (p.ptr[b + 1] <= n) ++b;
      const std::int64_t count = std::min({kPiece, end - n, p.ptr[b + 1] - n});
      const Tree points(p.xyz + 3 * n, count, kBlock);
      for (const Tree::Node& node : points.nodes) {
        if (node.right != 0) continue;
        const Block found = search(*centres[b], points, node);
        for (std::int64_t i = 0; i < node.end - node.begin; ++i) {
          const std::int64_t of = std::min<std::int64_t>(i, kBlock - 1);  // more are all equal
          write(p, n + points.point[node.begin + i],
                {found.first[of], found.second[of], found.third[of]});
        }
      }
      n += count;
    }
  });
}

}  // namespace cmad
