#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/launch.cuh"
#include "emulate/half.h"

// Takes the place of csrc/core/mma.cuh, which says what the functions do. Of the
// sum of eight products and what was there the digits that a float lacks are cut off, as GPUs were
// found to do it.

#define CMAD_HERE emulate::Place here = {__builtin_FILE(), __builtin_LINE()}

namespace cmad {

namespace emulate {

/// Element (l / 4, l % 4 * 2 + half) of an [8][8] matrix of which lane l holds two.
inline float element(unsigned two, int half) {
  return float16_to_float(std::uint16_t(two >> 16 * half));
}

/// A row of eight numbers in shared memory, aligned to 16 bytes.
template <class T>
const T* row_of(const char* op, Pointer<const T> at, Place here) {
  const T* row = &at.unchecked();
  if (is_global(&at.memory()))
    fault(std::string(op) + " at " + said(here) + ": not in shared memory");
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
    fault(std::string(op) + " at " + said(here) + ": not aligned to 16 bytes");
  return row;
}

/// What a lane gives and takes, which the last one to come reads and fills for all.
struct Fragments {
  float* sum;
  std::array<unsigned, 6> a_b;
};

inline float cut(double x) {
  const auto nearest = float(x);
  return std::abs(double(nearest)) > std::abs(x) ? std::nextafter(nearest, 0.0f) : nearest;
}

inline void multiply(const Lanes& lanes) {
  const auto lane = [&](int l) -> const Fragments& {
    return *reinterpret_cast<const Fragments*>(lanes[std::size_t(l)]);
  };
  float a[16][16], b[8][16];
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i)
      for (int h = 0; h < 2; ++h) {
        const int row = l / 4, column = i / 2 * 8 + l % 4 * 2 + h;
        a[row + i % 2 * 8][column] = element(lane(l).a_b[std::size_t(i)], h);
        if (i % 2 == 0) b[row][column] = element(lane(l).a_b[std::size_t(4 + i / 2)], h);
      }
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i)
      for (int k = 0; k < 16; k += 8) {
        double sum = double(lane(l).sum[i]);
        for (int j = k; j < k + 8; ++j)
          sum += double(a[l / 4 + i / 2 * 8][j]) * double(b[l % 4 * 2 + i % 2][j]);
        lane(l).sum[i] = cut(sum);
      }
}

/// What a lane gives and takes of bytes.
struct Bytes {
  int* sum;
  std::array<unsigned, 6> a_b;
};

inline void multiply_bytes(const Lanes& lanes) {
  const auto lane = [&](int l) -> const Bytes& {
    return *reinterpret_cast<const Bytes*>(lanes[std::size_t(l)]);
  };
  int a[16][32], b[8][32];
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i)
      for (int k = 0; k < 4; ++k) {
        const int row = l / 4, column = i / 2 * 16 + l % 4 * 4 + k;
        a[row + i % 2 * 8][column] = std::uint8_t(lane(l).a_b[std::size_t(i)] >> 8 * k);
        if (i % 2 == 0) b[row][column] = std::int8_t(lane(l).a_b[std::size_t(4 + i / 2)] >> 8 * k);
      }
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i)
      for (int k = 0; k < 32; ++k)
        lane(l).sum[i] += a[l / 4 + i / 2 * 8][k] * b[l % 4 * 2 + i % 2][k];
}

/// What a lane gives and takes of four matrices.
struct Rows {
  unsigned* to;
  std::array<std::uint16_t, 8> row;
};

template <bool turned>
void exchange_rows(const Lanes& lanes) {
  const auto lane = [&](int l) -> const Rows& {
    return *reinterpret_cast<const Rows*>(lanes[std::size_t(l)]);
  };
  for (int l = 0; l < 32; ++l)
    for (int m = 0; m < 4; ++m) {
      const auto at = [&](int r, int c) -> unsigned {
        return turned ? lane(8 * m + c).row[std::size_t(r)] : lane(8 * m + r).row[std::size_t(c)];
      };
      const int c = l % 4 * 2;
      lane(l).to[m] = at(l / 4, c) | at(l / 4, c + 1) << 16;
    }
}

template <bool turned>
void ldmatrix(const char* op, unsigned (&to)[4], Pointer<const __half> row, Place here) {
  const __half* from = row_of(op, row, here);
  row.memory().read(from, 16);
  Rows mine{to, {}};
  std::memcpy(mine.row.data(), from, 16);
  Block::running->exchange(op, ~0u, reinterpret_cast<std::uintptr_t>(&mine), false, here,
                           exchange_rows<turned>);
}

}  // namespace emulate

inline void mma_m16n8k16(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                         CMAD_HERE) {
  emulate::Fragments mine{sum, {a[0], a[1], a[2], a[3], b0, b1}};
  emulate::Block::running->exchange("mma_m16n8k16", ~0u, reinterpret_cast<std::uintptr_t>(&mine),
                                    false, here, emulate::multiply);
}

inline void mma_m16n8k32(int (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                         CMAD_HERE) {
  emulate::Bytes mine{sum, {a[0], a[1], a[2], a[3], b0, b1}};
  emulate::Block::running->exchange("mma_m16n8k32", ~0u, reinterpret_cast<std::uintptr_t>(&mine),
                                    false, here, emulate::multiply_bytes);
}

inline int dot4(unsigned a, unsigned b, int sum) {
  for (int k = 0; k < 32; k += 8) sum += std::uint8_t(a >> k) * std::int8_t(b >> k);
  return sum;
}

inline void ldmatrix_x4(unsigned (&to)[4], Pointer<const __half> row, CMAD_HERE) {
  emulate::ldmatrix<false>("ldmatrix_x4", to, row, here);
}
inline void ldmatrix_x4_trans(unsigned (&to)[4], Pointer<const __half> row, CMAD_HERE) {
  emulate::ldmatrix<true>("ldmatrix_x4_trans", to, row, here);
}

template <class T>
void cp_async_16(Pointer<T> to, Pointer<const emulate::Same<T>> from, bool there = true,
                 CMAD_HERE) {
  emulate::Copies::Bytes bytes = {};
  const T* at = emulate::row_of("cp_async_16", Pointer<const T>(to), here);
  if (there) {
    const T* source = &from.unchecked();
    if (!emulate::is_global(&from.memory()) || reinterpret_cast<std::uintptr_t>(source) % 16 != 0)
      emulate::fault("cp_async_16 at " + said(here) +
                     ": the source is not in global memory or not aligned to 16 bytes");
    from.memory().read(source, bytes.size());
    std::memcpy(bytes.data(), source, bytes.size());
  }
  emulate::Block::running->copies().begin(&to.memory(), const_cast<T*>(at), bytes);
}
inline void cp_async_commit() { emulate::Block::running->copies().commit(); }
template <int newest>
void cp_async_wait() {
  emulate::Block::running->copies().wait(newest);
}

}  // namespace cmad

#undef CMAD_HERE
