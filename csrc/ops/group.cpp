#include "ops/group.h"

#include <algorithm>
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

/// The K smallest keys of those added. Holds more, and lets go of the largest now and then.
class Smallest {
 public:
  explicit Smallest(std::int64_t K) : K_(K), keys_(2 * K + kLeaf) {}

  void clear() {
    held_ = 0;
    bound_ = kNone;
  }
  /// No larger key is among the K smallest.
  std::uint64_t bound() const { return bound_; }
  /// Adds at most kLeaf points.
  void add(const float* d2, const std::int32_t* index, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint64_t key = nearest_key(d2[i], index[i]);
      keys_[held_] = key;
      held_ += key < bound_;
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
    std::sort(keys_.begin(), keys_.begin() + K_);
    return keys_.data();
  }

 private:
  void drop() {
    std::nth_element(keys_.begin(), keys_.begin() + (K_ - 1), keys_.begin() + held_);
    held_ = K_;
    bound_ = keys_[K_ - 1];
  }
  std::int64_t K_, held_ = 0;
  std::uint64_t bound_ = kNone;
  std::vector<std::uint64_t> keys_;
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
    float d2[kLeaf];
    std::int64_t b = 0;
    for (std::int64_t g = begin; g < end; ++g) {
      while (p.centre_ptr[b + 1] <= g) ++b;
      const Tree& tree = *trees[b];
      const float* centre = p.centre + 3 * g;
      nearest.clear();
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
    }
  });
}

}  // namespace cmad
