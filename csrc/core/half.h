#pragma once

#include <cstdint>
#include <cstring>

#include "core/device.h"

namespace cmad {

/// How the numbers of an array of rows are stored. All convert to float exactly.
enum class Number : int { float32 = 0, float16 = 1, bfloat16 = 2 };

CMAD_BOTH inline std::int64_t bytes_of(Number number) { return number == Number::float32 ? 4 : 2; }

CMAD_BOTH inline float from_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// Without branches, so that loops over it are vectorised; subnormals, infinities and NaN too.
CMAD_BOTH inline float float16_to_float(std::uint16_t h) {
  const std::uint32_t rest = h & 0x7fffu;
  // The exponent moves by a multiplication, which is exact and also normalises subnormals.
  const float magnitude = from_bits(rest << 13) * 0x1p112f;
  std::uint32_t bits;
  std::memcpy(&bits, &magnitude, sizeof bits);
  bits |= rest >= 0x7c00u ? 0x7f800000u : 0u;
  return from_bits(bits | std::uint32_t(h & 0x8000u) << 16);
}

inline void float16s(const std::uint16_t* from, std::int64_t n, float* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = float16_to_float(from[i]);
}
inline void bfloat16s(const std::uint16_t* from, std::int64_t n, float* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = from_bits(std::uint32_t(from[i]) << 16);
}

/// Entries first to first + n of a row: in place where they are floats, else converted to `buffer`.
inline const float* as_floats(const void* row, Number number, std::int64_t first, std::int64_t n,
                              float* buffer) {
  if (number == Number::float32) return static_cast<const float*>(row) + first;
  const auto* from = static_cast<const std::uint16_t*>(row) + first;
  number == Number::float16 ? float16s(from, n, buffer) : bfloat16s(from, n, buffer);
  return buffer;
}

}  // namespace cmad
