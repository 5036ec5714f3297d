#include "ops/group.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "core/math.h"
#include "core/parallel.h"
#include "core/simd.h"
#include "core/tree.h"

namespace cmad {
namespace {

constexpr std::int64_t kLeaf = 64;  // points; 32 is slower by a twentieth

constexpr std::int64_t kCounted = 256;  // keys that are put in order by counting, at most

constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();  // above every key

CMAD_SIMD void distances(const float* __restrict x, const float* __restrict y,
                         const float* __restrict z, const float* at, std::int64_t count,
                         float* __restrict d2) {
  const float ax = at[0], ay = at[1], az = at[2];
  for (std::int64_t i = 0; i < count; ++i) {
    const float dx = x[i] - ax, dy = y[i] - ay, dz = z[i] - az;
    d2[i] = (dx * dx + dy * dy) + dz * dz;  // as dist2()
  }
}

/// Puts different keys in order: each behind as many as are smaller. Square work, but without a
/// branch; of 100 keys a third of the time of std::sort().
CMAD_SIMD void in_order(const std::uint64_t* __restrict keys, std::int64_t count,
                        std::uint64_t* __restrict sorted) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t key = keys[i];
    std::uint64_t smaller = 0;
    for (std::int64_t j = 0; j < count; ++j) smaller += keys[j] < key;
    sorted[smaller] = key;
  }
}

/// A key that no point nearer than `d2` from another place exceeds, where these places are `apart`:
/// by the triangle inequality, with room for what rounding does to either distance.
std::uint64_t farthest_key(float d2, float apart2) {
  const double d = std::sqrt(double(d2)) + std::sqrt(double(apart2));
  const double most = d * d * (1 + 1e-5) + 1e-37;
  if (!(most < double(std::numeric_limits<float>::max()))) return kNone;
  return nearest_key(float(most), 0xffffffffu);
}

/// The K smallest keys of those added. Holds more, and lets go of the largest now and then.
class Smallest {
 public:
  explicit Smallest(std::int64_t K) : K_(K), keys_(2 * K + kLeaf), sorted_(K) {}

  /// Begins anew; K keys at least will be no larger than `bound`.
  void clear(std::uint64_t bound) {
    held_ = 0;
    bound_ = bound;
  }
  /// No larger key is among the K smallest.
  std::uint64_t bound() const { return bound_; }
  /// Adds at most kLeaf points.
  void add(const float* d2, const std::int32_t* index, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint64_t key = nearest_key(d2[i], index[i]);
      keys_[held_] = key;
      held_ += key <= bound_;
    }
    if (held_ > 2 * K_) {
      drop();
    } else if (held_ >= K_ && bound_ == kNone) {  // a first bound, cheaper than the best
      bound_ = *std::max_element(keys_.begin(), keys_.begin() + held_);
    }
  }
  /// Sorted.
  const std::uint64_t* take() {
    if (held_ > K_) drop();
    if (K_ > kCounted) {
      std::sort(keys_.begin(), keys_.begin() + K_);
      return keys_.data();
    }
    in_order(keys_.data(), K_, sorted_.data());
    return sorted_.data();
  }

 private:
  void drop() {
    std::nth_element(keys_.begin(), keys_.begin() + (K_ - 1), keys_.begin() + held_);
    held_ = K_;
    bound_ = keys_[K_ - 1];
  }
  std::int64_t K_, held_ = 0;
  std::uint64_t bound_ = kNone;
  std::vector<std::uint64_t> keys_, sorted_;
};

}  // namespace

template <>
void group<Cpu>(const Group& p, void* stream) {
  Threads<> threads(stream);
  std::vector<std::unique_ptr<const Tree>> trees(p.B);
  threads.run(p.B, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b)
      trees[b] = std::make_unique<const Tree>(p.xyz + 3 * p.ptr[b], p.ptr[b + 1] - p.ptr[b], kLeaf);
  });
  threads.run(p.G, 16, [&](std::int64_t begin, std::int64_t end) {
    Smallest nearest(p.K);
    float d2[kLeaf], reached = 0;  // of the centre before, the distance of the last that it took
    std::int64_t b = 0, before = -1;
    for (std::int64_t g = begin; g < end; ++g) {
      while (p.centre_ptr[b + 1] <= g) ++b;
      const Tree& tree = *trees[b];
      const float* centre = p.centre + 3 * g;
      nearest.clear(g > begin && b == before ? farthest_key(reached, dist2(centre - 3, centre))
                                             : kNone);
      before = b;
      tree.search(
          {{centre[0], centre[1], centre[2]}, {centre[0], centre[1], centre[2]}},
          [&] { return nearest.bound(); },
          [&](std::int64_t first, std::int64_t last) {
            if (last - first > kLeaf)  // all are equal, and come in order
              last = std::min(last, first + p.K);
            for (; first < last; first += kLeaf) {
              const std::int64_t count = std::min(kLeaf, last - first);
              distances(&tree.x[first], &tree.y[first], &tree.z[first], centre, count, d2);
              nearest.add(d2, &tree.point[first], count);
            }
          });
      const std::uint64_t* keys = nearest.take();
      for (std::int64_t k = 0; k < p.K; ++k) p.index[g * p.K + k] = key_index(keys[k]);
      reached = key_dist2(keys[p.K - 1]);
    }
  });
}

}  // namespace cmad
