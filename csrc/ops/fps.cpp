#include "ops/fps.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/math.h"
#include "core/parallel.h"
#include "core/simd.h"
#include "core/tree.h"

// A cloud is cut into tiles of points that lie together, the leaves of a tree. A tile knows its box
// and the largest distance of its points to the picks. A new pick changes only tiles whose box is
// nearer to it than that, soon a few of many; among the others' largest distances nothing changes.
// Rounding keeps the order, so no bound needs a margin, and the picks are those of brute force.

namespace cmad {
namespace {

constexpr std::int64_t kTile = 64;  // points
constexpr std::int64_t kLanes = 8;  // that loops take at once; tiles and their number are padded
constexpr float kFar = std::numeric_limits<float>::infinity();
constexpr std::int32_t kUnknown = std::numeric_limits<std::int32_t>::max();

std::int64_t padded(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

/// The order of equally far points: by index, or that of the published kernel's tree reduction.
class Order {
 public:
  Order(std::int64_t N, bool published) {
    if (!published) return;
    while (bits_ < 9 && (std::int64_t(2) << bits_) <= N) ++bits_;
    each_ = (N >> bits_) + 1;
  }
  std::int32_t rank(std::int64_t n) const {
    return bits_ == 0 ? std::int32_t(n) : std::int32_t(reversed(n) * each_ + (n >> bits_));
  }
  std::int64_t point(std::int64_t rank) const {
    return bits_ == 0 ? rank : rank % each_ << bits_ | reversed(rank / each_);
  }

 private:
  std::int64_t reversed(std::int64_t n) const {
    std::int64_t result = 0;
    for (int b = 0; b < bits_; ++b) result = result << 1 | (n >> b & 1);
    return result;
  }
  int bits_ = 0;  // of a slot in a block
  std::int64_t each_ = 0;
};

struct Tiles {
  // Of each point, tile by tile; a tile's places that are left over are below every distance.
  std::vector<float> x, y, z, nearest;
  std::vector<std::int32_t> rank;
  // Of each tile; those that are left over have no points.
  std::vector<std::int64_t> begin, end;
  std::vector<float> lo[3], hi[3], largest;
  std::vector<std::int32_t> choice;  // lowest rank of the points at `largest`, or kUnknown
};

/// Lowers `nearest` by the distance to `here`; returns the largest value left.
CMAD_SIMD float lower(const float* __restrict x, const float* __restrict y,
                      const float* __restrict z, float* __restrict nearest, std::int64_t count,
                      const float* here) {
  const float hx = here[0], hy = here[1], hz = here[2];
  float best[kLanes];
  std::fill(best, best + kLanes, -1.0f);
  for (std::int64_t n = 0; n < count; n += kLanes)
    for (int i = 0; i < kLanes; ++i) {
      const float dx = x[n + i] - hx, dy = y[n + i] - hy, dz = z[n + i] - hz;
      const float d = (dx * dx + dy * dy) + dz * dz;  // as dist2()
      const float m = d < nearest[n + i] ? d : nearest[n + i];
      nearest[n + i] = m;
      best[i] = m > best[i] ? m : best[i];
    }
  return *std::max_element(best, best + kLanes);
}

/// The lowest of the ranks whose value is `value`; kUnknown if that is none's.
CMAD_SIMD std::int32_t lowest_rank(const float* __restrict values,
                                   const std::int32_t* __restrict rank, std::int64_t count,
                                   float value) {
  std::int32_t best[kLanes];
  std::fill(best, best + kLanes, kUnknown);
  for (std::int64_t n = 0; n < count; n += kLanes)
    for (int i = 0; i < kLanes; ++i) {
      const std::int32_t own = values[n + i] == value ? rank[n + i] : kUnknown;
      best[i] = own < best[i] ? own : best[i];
    }
  return *std::min_element(best, best + kLanes);
}

CMAD_SIMD float largest_of(const float* values, std::int64_t count) {
  float best[kLanes];
  std::fill(best, best + kLanes, -1.0f);
  for (std::int64_t n = 0; n < count; n += kLanes)
    for (int i = 0; i < kLanes; ++i) best[i] = values[n + i] > best[i] ? values[n + i] : best[i];
  return *std::max_element(best, best + kLanes);
}

/// Writes the tiles that a pick `here` may change; returns how many they are.
CMAD_SIMD std::int64_t near_tiles(const Tiles& tiles, const float* here, std::int32_t* found) {
  const float hx = here[0], hy = here[1], hz = here[2];
  const float *lx = tiles.lo[0].data(), *ly = tiles.lo[1].data(), *lz = tiles.lo[2].data();
  const float *ux = tiles.hi[0].data(), *uy = tiles.hi[1].data(), *uz = tiles.hi[2].data();
  const float* largest = tiles.largest.data();
  const auto count = std::int64_t(tiles.largest.size());
  std::int64_t so_far = 0;
  for (std::int64_t t = 0; t < count; t += kLanes) {
    std::int32_t near[kLanes], any = 0;
    for (int i = 0; i < kLanes; ++i) {  // as gap2()
      const float dx = std::max(std::max(lx[t + i] - hx, hx - ux[t + i]), 0.0f);
      const float dy = std::max(std::max(ly[t + i] - hy, hy - uy[t + i]), 0.0f);
      const float dz = std::max(std::max(lz[t + i] - hz, hz - uz[t + i]), 0.0f);
      near[i] = (dx * dx + dy * dy) + dz * dz < largest[t + i];
      any |= near[i];
    }
    if (any == 0) continue;
    for (int i = 0; i < kLanes; ++i) {
      found[so_far] = std::int32_t(t + i);
      so_far += near[i];
    }
  }
  return so_far;
}

Tiles tiles_of(const float* xyz, std::int64_t N, const Order& order, double skip) {
  const Tree tree(xyz, N, kTile);
  Tiles tiles;
  std::int64_t count = 0, places = 0;
  for (const Tree::Node& node : tree.nodes)
    if (node.right == 0) {
      ++count;
      places += padded(node.end - node.begin);
    }
  for (std::vector<float>* values : {&tiles.x, &tiles.y, &tiles.z}) values->resize(places);
  tiles.nearest.resize(places, -1.0f);
  tiles.rank.resize(places);
  tiles.begin.resize(padded(count));
  tiles.end.resize(padded(count));
  for (int k = 0; k < 3; ++k) {
    tiles.lo[k].resize(padded(count));
    tiles.hi[k].resize(padded(count));
  }
  tiles.largest.resize(padded(count), -1.0f);
  tiles.choice.resize(padded(count), kUnknown);
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
    tiles.end[t] = place = padded(place);
    ++t;
  }
  return tiles;
}

void pick(const float* xyz, std::int64_t N, const Fps& p, std::int64_t* index) {
  const Order order(N, p.published_ties);
  Tiles tiles = tiles_of(xyz, N, order, p.skip);
  const auto count = std::int64_t(tiles.largest.size());
  std::vector<std::int32_t> near(count + kLanes);
  index[0] = 0;
  for (std::int64_t k = 1; k < p.K; ++k) {
    const float* here = xyz + 3 * index[k - 1];
    const std::int64_t changing = near_tiles(tiles, here, near.data());
    for (std::int64_t i = 0; i < changing; ++i) {
      const std::int32_t t = near[i];
      const std::int64_t at = tiles.begin[t];
      tiles.largest[t] = lower(&tiles.x[at], &tiles.y[at], &tiles.z[at], &tiles.nearest[at],
                               tiles.end[t] - at, here);
      tiles.choice[t] = kUnknown;
    }
    const float far = largest_of(tiles.largest.data(), count);
    if (far < 0) {
      index[k] = 0;
      continue;
    }
    for (std::int64_t t = 0; t < count; ++t)
      if (tiles.largest[t] == far && tiles.choice[t] == kUnknown)
        tiles.choice[t] = lowest_rank(&tiles.nearest[tiles.begin[t]], &tiles.rank[tiles.begin[t]],
                                      tiles.end[t] - tiles.begin[t], far);
    index[k] =
        order.point(lowest_rank(tiles.largest.data(), tiles.choice.data(), count, far));
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
