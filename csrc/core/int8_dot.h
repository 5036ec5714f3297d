#pragma once

#include <cstdint>

#if defined(__x86_64__) && !defined(__CUDACC__)
#include <cpuid.h>
#include <immintrin.h>
#endif

// Products of 8-bit integers, summed in 32 bits: exact, so every path gives the same numbers.
//
// Left: panels of 16 rows, unsigned, stored [C / 4][16][4] so that one 64-byte load holds four
// columns of each row. Right: signed rows of C bytes. C is a multiple of 4 and at most 65536.

namespace cmad {

enum class Int8Path : int { best = 0, plain = 1, avx2 = 2, avx_vnni = 3, avx512_vnni = 4 };

constexpr int kPanelRows = 16;
constexpr int kTilePanels = 4, kTileRows = kTilePanels * kPanelRows;
constexpr int kTileColumns = 6;  // 4 x 6 sums fill 24 of 32 vector registers

/// dot[j][i] = panel row i . right row j, for i in 4 panels and j < n <= 6.
using Int8Tile = void (*)(const std::uint8_t* panel, const std::int8_t* right, std::int64_t C,
                          int n, std::int32_t dot[kTileColumns][kTileRows]);

inline void int8_tile_plain(const std::uint8_t* panel, const std::int8_t* right, std::int64_t C,
                            int n, std::int32_t dot[kTileColumns][kTileRows]) {
  for (int j = 0; j < n; ++j)
    for (int block = 0; block < kTilePanels; ++block) {
      std::int32_t sum[kPanelRows] = {};
      for (std::int64_t c = 0; c < C; c += 4) {
        const std::uint8_t* left = panel + (block * C + c) * kPanelRows;
        const std::int8_t* r = right + j * C + c;
        for (int i = 0; i < kPanelRows; ++i)
          sum[i] += left[4 * i] * r[0] + left[4 * i + 1] * r[1] + left[4 * i + 2] * r[2] +
                    left[4 * i + 3] * r[3];
      }
      for (int i = 0; i < kPanelRows; ++i) dot[j][block * kPanelRows + i] = sum[i];
    }
}

#if defined(__x86_64__) && !defined(__CUDACC__)

inline std::int32_t four_bytes(const std::int8_t* from) {
  std::int32_t bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  return bytes;
}

__attribute__((target("avx2"))) inline void int8_tile_avx2(
    const std::uint8_t* panel, const std::int8_t* right, std::int64_t C, int n,
    std::int32_t dot[kTileColumns][kTileRows]) {
  for (int j = 0; j < n; ++j)
    for (int block = 0; block < kTilePanels; ++block) {
      const std::uint8_t* left = panel + block * C * kPanelRows;
      __m256i sum[4] = {};  // of each: four rows, two halves of each row's sum
      for (std::int64_t c = 0; c < C; c += 4, left += 64) {
        // In 16 bits: the instruction for bytes saturates.
        const __m128i four = _mm_cvtepi8_epi16(_mm_cvtsi32_si128(four_bytes(right + j * C + c)));
        const __m256i r = _mm256_broadcastq_epi64(four);
        for (int i = 0; i < 4; ++i) {
          const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(left + 16 * i));
          const __m256i product = _mm256_madd_epi16(_mm256_cvtepu8_epi16(bytes), r);
          sum[i] = _mm256_add_epi32(sum[i], product);
        }
      }
      for (int i = 0; i < 4; i += 2) {
        const __m256i pairs = _mm256_hadd_epi32(sum[i], sum[i + 1]);
        const __m256i ordered = _mm256_permute4x64_epi64(pairs, 0b11011000);
        std::int32_t* to = dot[j] + block * kPanelRows + 4 * i;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), ordered);
      }
    }
}

__attribute__((target("avx2,avxvnni"))) inline void int8_tile_avx_vnni(
    const std::uint8_t* panel, const std::int8_t* right, std::int64_t C, int n,
    std::int32_t dot[kTileColumns][kTileRows]) {
  for (int block = 0; block < kTilePanels; ++block)
    for (int j = 0; j < n; ++j) {
      const std::uint8_t* left = panel + block * C * kPanelRows;
      __m256i low = _mm256_setzero_si256(), high = low;
      for (std::int64_t c = 0; c < C; c += 4, left += 64) {
        const __m256i r = _mm256_set1_epi32(four_bytes(right + j * C + c));
        const auto* rows = reinterpret_cast<const __m256i*>(left);
        low = _mm256_dpbusd_avx_epi32(low, _mm256_loadu_si256(rows), r);
        high = _mm256_dpbusd_avx_epi32(high, _mm256_loadu_si256(rows + 1), r);
      }
      auto* to = reinterpret_cast<__m256i*>(dot[j] + block * kPanelRows);
      _mm256_storeu_si256(to, low);
      _mm256_storeu_si256(to + 1, high);
    }
}

template <int N>
__attribute__((target("avx512f,avx512vnni"))) inline void int8_columns_avx512_vnni(
    const std::uint8_t* panel, const std::int8_t* right, std::int64_t C,
    std::int32_t dot[kTileColumns][kTileRows]) {
  __m512i sum[N][kTilePanels];
#pragma GCC unroll 6
  for (int j = 0; j < N; ++j)
#pragma GCC unroll 4
    for (int i = 0; i < kTilePanels; ++i) sum[j][i] = _mm512_setzero_si512();
  for (std::int64_t c = 0; c < C; c += 4) {
    __m512i left[kTilePanels];
#pragma GCC unroll 4
    for (int i = 0; i < kTilePanels; ++i)
      left[i] = _mm512_loadu_si512(panel + (i * C + c) * kPanelRows);
#pragma GCC unroll 6
    for (int j = 0; j < N; ++j) {
      const __m512i r = _mm512_set1_epi32(four_bytes(right + j * C + c));
#pragma GCC unroll 4
      for (int i = 0; i < kTilePanels; ++i) sum[j][i] = _mm512_dpbusd_epi32(sum[j][i], left[i], r);
    }
  }
#pragma GCC unroll 6
  for (int j = 0; j < N; ++j)
#pragma GCC unroll 4
    for (int i = 0; i < kTilePanels; ++i) _mm512_storeu_si512(dot[j] + i * kPanelRows, sum[j][i]);
}

inline void int8_tile_avx512_vnni(const std::uint8_t* panel, const std::int8_t* right,
                                  std::int64_t C, int n,
                                  std::int32_t dot[kTileColumns][kTileRows]) {
  if (n == kTileColumns) return int8_columns_avx512_vnni<kTileColumns>(panel, right, C, dot);
  for (int j = 0; j < n; ++j) int8_columns_avx512_vnni<1>(panel, right + j * C, C, dot + j);
}

#endif

#if defined(__x86_64__) && !defined(__CUDACC__)
/// By CPUID, as compilers before clang 15 do not know the name.
inline bool has_avx_vnni() {
  unsigned a, b, c, d;
  return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 &&
         (a >> 4 & 1) != 0;
}
#endif

/// The path that this machine's CPUID offers; null where it lacks the one asked for.
inline Int8Tile int8_tile(Int8Path path) {
#if defined(__x86_64__) && !defined(__CUDACC__)
  const bool any = path == Int8Path::best;
  if ((any || path == Int8Path::avx512_vnni) && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512vnni"))
    return int8_tile_avx512_vnni;
  if ((any || path == Int8Path::avx_vnni) && has_avx_vnni()) return int8_tile_avx_vnni;
  if ((any || path == Int8Path::avx2) && __builtin_cpu_supports("avx2")) return int8_tile_avx2;
#endif
  if (path == Int8Path::best || path == Int8Path::plain) return int8_tile_plain;
  return nullptr;
}

}  // namespace cmad
