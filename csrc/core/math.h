#pragma once

#include <cstdint>
#include <cstring>

#include "core/device.h"

namespace cmad {

/// Squared distance of two points. The only expression for it in the project: every op and device
/// rounds the same way, so that equal inputs give equal indices.
CMAD_BOTH inline float dist2(const float* a, const float* b) {
  const float x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
  return (x * x + y * y) + z * z;
}

/// A box with sides along the axes; of points that lie in it.
struct Box {
  float lo[3], hi[3];
};

/// No two points of these boxes have a smaller squared distance by dist2(): the same expression,
/// and each of its roundings keeps the order.
CMAD_BOTH inline float gap2(const Box& a, const Box& b) {
  float gap[3];
  for (int k = 0; k < 3; ++k) {
    const float below = a.lo[k] - b.hi[k], above = b.lo[k] - a.hi[k];
    const float apart = below > above ? below : above;
    gap[k] = apart > 0 ? apart : 0;
  }
  return (gap[0] * gap[0] + gap[1] * gap[1]) + gap[2] * gap[2];
}

/// A distance and an index in one integer that orders by distance, then by index. `d2` >= 0.
CMAD_BOTH inline std::uint64_t nearest_key(float d2, std::int64_t index) {
  std::uint32_t bits;
  std::memcpy(&bits, &d2, sizeof bits);
  return std::uint64_t(bits) << 32 | std::uint32_t(index);
}
CMAD_BOTH inline float key_dist2(std::uint64_t key) {
  const auto bits = std::uint32_t(key >> 32);
  float d2;
  std::memcpy(&d2, &bits, sizeof d2);
  return d2;
}
CMAD_BOTH inline std::int64_t key_index(std::uint64_t key) {
  return std::int64_t(key & 0xffffffffu);
}

/// Uniform 64-bit hash of a counter (the splitmix64 finaliser): random numbers without state.
CMAD_BOTH inline std::uint64_t hash64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// How many pieces of `each` cover n.
CMAD_BOTH inline std::int64_t pieces(std::int64_t n, std::int64_t each) {
  return (n + each - 1) / each;
}

}  // namespace cmad
