#pragma once

#include <cstdint>
#include <cstring>

#include "core/half.h"

// CUDA's numbers of 16 bits, by the names of cuda_fp16.h.

struct __half {
  std::uint16_t bits;
};
struct __half2 {
  __half x, y;
};

inline float __half2float(__half h) { return cmad::float16_to_float(h.bits); }

/// To the nearest, ties to even.
inline __half __float2half_rn(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = std::uint16_t(bits >> 16 & 0x8000u);
  std::uint32_t rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return {0x7fff};  // NaN
  if (rest >= 0x477ff000u)
    rest = 0x7c00u << 13;  // from 65520 on
  else if (rest >= 0x38800000u)
    rest += 0xfffu + (rest >> 13 & 1u) - (112u << 23);
  else {  // below 2^-14: a unit in the last place of 1/2 is the smallest float16
    const float shifted = cmad::from_bits(rest) + 0.5f;
    std::memcpy(&bits, &shifted, sizeof bits);
    rest = (bits - 0x3f000000u) << 13;
  }
  return {std::uint16_t(rest >> 13 | sign)};
}

inline __half2 __floats2half2_rn(float x, float y) {
  return {__float2half_rn(x), __float2half_rn(y)};
}
inline float __low2float(__half2 h) { return __half2float(h.x); }
inline float __high2float(__half2 h) { return __half2float(h.y); }
