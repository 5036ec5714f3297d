#include "ops/fps.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "core/math.h"
#include "core/parallel.h"
#include "core/simd.h"
#include "core/tree.h"
#include "ops/fps_order.h"

// A cloud is cut into tiles of points that lie together, the leaves of a tree. A tile knows its box
// and the largest distance of its points to the picks. A new pick changes only tiles whose box is
// nearer to it than that, soon a few of many; among the others' largest distances nothing changes.
// Rounding keeps the order, so no bound needs a margin, and the picks are those of brute force.

namespace cmad {
namespace {

constexpr std::int64_t kTile = 128;  // points
constexpr std::int64_t kLanes = 8;   // places of a tile are a multiple
constexpr std::int64_t kBlock = 64;  // tiles looked at together; their number is a multiple
constexpr float kFar = std::numeric_limits<float>::infinity();
constexpr std::int32_t kUnknown = std::numeric_limits<std::int32_t>::max();

std::int64_t padded(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

struct Tiles {
  // Of each point, tile by tile; a tile's places that are left over are below every distance.
  std::vector<float> x, y, z, nearest;
  std::vector<std::int32_t> rank;
  // Of each tile; those that are left over have no points.
  std::vector<std::int64_t> begin, end;
  std::vector<float> lo[3], hi[3], largest;
  std::vector<std::int32_t> choice;  // lowest rank of the points at `largest`, or kUnknown
};

/// The bits of a distance, or of the -1 below all of them, as a number that orders in the same way.
/// The largest of these can be found by vectors, which for numbers with NaN it cannot.
inline std::int32_t ordered(float d2) {
  std::int32_t bits;
  std::memcpy(&bits, &d2, sizeof bits);
  return bits;
}

/// Lowers `nearest` by the distance to `here`; returns the largest value left.
CMAD_SIMD float lower(const float* __restrict x, const float* __restrict y,
                      const float* __restrict z, float* __restrict nearest, std::int64_t count,
                      const float* here) {
  const float hx = here[0], hy = here[1], hz = here[2];
  std::int32_t best = ordered(-1.0f);
  for (std::int64_t n = 0; n < count; ++n) {
    const float dx = x[n] - hx, dy = y[n] - hy, dz = z[n] - hz;
    const float d = (dx * dx + dy * dy) + dz * dz;  // as dist2()
    nearest[n] = d < nearest[n] ? d : nearest[n];
    best = std::max(best, ordered(nearest[n]));
  }
  float largest;
  std::memcpy(&largest, &best, sizeof best);
  return largest;
}

/// The lowest rank of those at `value`.
CMAD_SIMD std::int32_t lowest_rank(const float* __restrict nearest,
                                   const std::int32_t* __restrict rank, std::int64_t count,
                                   float value) {
  std::int32_t lowest = kUnknown;
  for (std::int64_t n = 0; n < count; ++n)
    lowest = std::min(lowest, nearest[n] == value ? rank[n] : kUnknown);
  return lowest;
}

/// Some tiles, in ascending order.
class Chosen {
 public:
  explicit Chosen(std::int64_t tiles) : tiles_(tiles) {}

  /// Adds those of the tiles from `first` on whose flag is set.
  void add(const std::uint8_t (&flags)[kBlock], std::int64_t first) {
    for (std::int64_t i = 0; i < kBlock; i += 8) {
      std::uint64_t eight;
      std::memcpy(&eight, flags + i, sizeof eight);
      if (eight == 0) continue;
      for (std::int64_t j = i; j < i + 8; ++j) {
        tiles_[count_] = std::int32_t(first + j);
        count_ += flags[j];
      }
    }
  }
  void clear() { count_ = 0; }
  const std::int32_t* begin() const { return tiles_.data(); }
  const std::int32_t* end() const { return tiles_.data() + count_; }

 private:
  std::vector<std::int32_t> tiles_;
  std::int64_t count_ = 0;
};

/// Chooses the tiles that a pick `here` may change.
CMAD_SIMD void choose_near(const Tiles& tiles, const float* here, Chosen& chosen) {
  const float hx = here[0], hy = here[1], hz = here[2];
  chosen.clear();
  for (std::int64_t t = 0; t < std::int64_t(tiles.largest.size()); t += kBlock) {
    const float *lx = &tiles.lo[0][t], *ly = &tiles.lo[1][t], *lz = &tiles.lo[2][t];
    const float *ux = &tiles.hi[0][t], *uy = &tiles.hi[1][t], *uz = &tiles.hi[2][t];
    const float* largest = &tiles.largest[t];
    std::uint8_t near[kBlock];
    for (int i = 0; i < kBlock; ++i) {  // as gap2()
      const float ax = lx[i] - hx, bx = hx - ux[i], dx = ax > bx ? ax : bx, gx = dx > 0 ? dx : 0;
      const float ay = ly[i] - hy, by = hy - uy[i], dy = ay > by ? ay : by, gy = dy > 0 ? dy : 0;
      const float az = lz[i] - hz, bz = hz - uz[i], dz = az > bz ? az : bz, gz = dz > 0 ? dz : 0;
      near[i] = (gx * gx + gy * gy) + gz * gz < largest[i];
    }
    chosen.add(near, t);
  }
}

/// Chooses the tiles that hold the farthest points; returns the distance of these.
CMAD_SIMD float choose_farthest(const Tiles& tiles, Chosen& chosen) {
  const float* largest = tiles.largest.data();
  const auto count = std::int64_t(tiles.largest.size());
  std::int32_t best = ordered(-1.0f);
  for (std::int64_t t = 0; t < count; ++t) best = std::max(best, ordered(largest[t]));
  chosen.clear();
  for (std::int64_t t = 0; t < count; t += kBlock) {
    std::uint8_t equal[kBlock];
    for (int i = 0; i < kBlock; ++i) equal[i] = ordered(largest[t + i]) == best;
    chosen.add(equal, t);
  }
  float far;
  std::memcpy(&far, &best, sizeof far);
  return far;
}

Tiles tiles_of(const float* xyz, std::int64_t N, const FpsOrder& order, double skip) {
  const Tree tree(xyz, N, kTile);
  Tiles tiles;
  std::int64_t count = 0, places = 0;
  for (const Tree::Node& node : tree.nodes)
    if (node.right == 0) {
      ++count;
      places += padded(node.end - node.begin, kLanes);
    }
  for (std::vector<float>* values : {&tiles.x, &tiles.y, &tiles.z}) values->resize(places);
  tiles.nearest.resize(places, -1.0f);
  tiles.rank.resize(places);
  tiles.begin.resize(padded(count, kBlock));
  tiles.end.resize(padded(count, kBlock));
  for (int k = 0; k < 3; ++k) {
    tiles.lo[k].resize(padded(count, kBlock));
    tiles.hi[k].resize(padded(count, kBlock));
  }
  tiles.largest.resize(padded(count, kBlock), -1.0f);
  tiles.choice.resize(padded(count, kBlock), kUnknown);
  std::int64_t t = 0, place = 0;
  for (const Tree::Node& node : tree.nodes) {
    if (node.right != 0) continue;
    for (int k = 0; k < 3; ++k) {
      tiles.lo[k][t] = node.box.lo[k];
      tiles.hi[k][t] = node.box.hi[k];
    }
    tiles.begin[t] = place;
    for (std::int64_t n = node.begin; n < node.end; ++n, ++place) {
      const float x = tiles.x[place] = tree.x[n];
      const float y = tiles.y[place] = tree.y[n];
      const float z = tiles.z[place] = tree.z[n];
      tiles.rank[place] = order.rank(tree.point[n]);
      // A skipped point starts below every distance, so it never becomes the farthest.
      const bool skipped = skip >= 0 && double((x * x + y * y) + z * z) <= skip;
      if (skipped) continue;
      tiles.nearest[place] = kFar;
      tiles.largest[t] = kFar;
    }
    tiles.end[t] = place = padded(place, kLanes);
    ++t;
  }
  return tiles;
}

void pick(const float* xyz, std::int64_t N, const Fps& p, std::int64_t* index) {
  const FpsOrder order(N, p.published_ties);
  Tiles tiles = tiles_of(xyz, N, order, p.skip);
  Chosen chosen(std::int64_t(tiles.largest.size()) + 1);
  index[0] = 0;
  for (std::int64_t k = 1; k < p.K; ++k) {
    const float* here = xyz + 3 * index[k - 1];
    choose_near(tiles, here, chosen);
    for (const std::int32_t t : chosen) {
      const std::int64_t at = tiles.begin[t];
      tiles.largest[t] = lower(&tiles.x[at], &tiles.y[at], &tiles.z[at], &tiles.nearest[at],
                               tiles.end[t] - at, here);
      tiles.choice[t] = kUnknown;
    }
    const float far = choose_farthest(tiles, chosen);
    std::int32_t rank = far < 0 ? 0 : kUnknown;
    for (const std::int32_t t : chosen) {
      const std::int64_t at = tiles.begin[t];
      if (tiles.choice[t] == kUnknown)
        tiles.choice[t] = lowest_rank(&tiles.nearest[at], &tiles.rank[at], tiles.end[t] - at, far);
      rank = std::min(rank, tiles.choice[t]);
    }
    index[k] = order.point(rank);
  }
}

}  // namespace

template <>
void fps<Cpu>(const Fps& p, void* stream) {
  parallel_for(p.B, 1, stream, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b)
      pick(p.xyz + 3 * p.ptr[b], p.ptr[b + 1] - p.ptr[b], p, p.index + b * p.K);
  });
}

}  // namespace cmad
