#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "emulate/block.h"
#include "emulate/pointer.h"

// What CUDA calls by these names, where it finds them: outside any namespace. Each takes its place
// in the source last, by default, for the messages. Not here: __activemask, whose value is up to
// the compiler, so that nothing may depend on it.

// The names that are reserved are as CUDA chose them.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// Blocks run one after another: one variable does, which each block finds as if new (`Shared`).
#define __shared__ static thread_local

inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;
inline constexpr int warpSize = cmad::emulate::kWarp;

#define CMAD_HERE cmad::emulate::Place here = {__builtin_FILE(), __builtin_LINE()}

namespace cmad::emulate {

template <class T>
std::uint64_t packed(T value) {
  static_assert(std::is_arithmetic_v<T>, "CUDA exchanges numbers");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T unpacked(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// Of the lanes named, whose values are read by `f(value, lane)`.
template <class F>
void each_lane(const Lanes& lanes, std::uint32_t mask, F&& f) {
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if (mask >> lane & 1) f(lanes[lane], lane);
}

/// The value of the lane `from(own place in its segment)`, or the own one where that is outside it.
template <class T, class From>
T shuffle(const char* op, std::uint32_t mask, T value, int width, Place here, From&& from) {
  const Lanes& lanes = Block::running->exchange(op, mask, packed(value), false, here);
  const int lane = int(Block::running->lane()), segment = lane / width * width;
  const int at = from(lane - segment);
  const int source = at < 0 || at >= width ? lane : segment + at;
  if ((mask >> source & 1) == 0)
    fault(std::string(op) + " at " + said(here) + " reads lane " + std::to_string(source) +
          ", which its mask does not name");
  return unpacked<T>(lanes[std::size_t(source)]);
}

template <class T, class F>
T reduce(const char* op, std::uint32_t mask, T value, Place here, F&& f) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>, "as in CUDA");
  const Lanes& lanes = Block::running->exchange(op, mask, packed(value), false, here);
  bool first = true;
  T result = value;
  each_lane(lanes, mask, [&](std::uint64_t bits, unsigned) {
    result = first ? unpacked<T>(bits) : f(result, unpacked<T>(bits));
    first = false;
  });
  return result;
}

/// Sets an element to `f(old)`; returns the old value. Others may run before.
template <class T, class F>
T atomic(Pointer<T> at, F&& f) {
  Block::running->yield();
  at.memory().atomic(&at.unchecked(), sizeof(T));
  const T old = at.unchecked();
  at.unchecked() = f(old);
  return old;
}

template <class T, class... Of>
constexpr bool is_one_of = (std::is_same_v<T, Of> || ...);
using U64 = unsigned long long;
/// The argument's type follows the element's, as with CUDA's overloads.
template <class T>
using Same = std::common_type_t<T>;

}  // namespace cmad::emulate

inline void __syncthreads(CMAD_HERE) { cmad::emulate::Block::running->barrier(here); }
inline void __syncwarp(unsigned mask = 0xffffffffu, CMAD_HERE) {
  cmad::emulate::Block::running->exchange("__syncwarp", mask, 0, true, here);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, CMAD_HERE) {
  return cmad::emulate::shuffle("__shfl_sync", mask, value, width, here,
                                [=](int) { return (source % width + width) % width; });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CMAD_HERE) {
  return cmad::emulate::shuffle("__shfl_up_sync", mask, value, width, here,
                                [=](int lane) { return lane - int(delta); });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CMAD_HERE) {
  return cmad::emulate::shuffle("__shfl_down_sync", mask, value, width, here,
                                [=](int lane) { return lane + int(delta); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize, CMAD_HERE) {
  if (bits >= width) cmad::emulate::fault("__shfl_xor_sync at " + said(here) + " leaves its width");
  return cmad::emulate::shuffle("__shfl_xor_sync", mask, value, width, here,
                                [=](int lane) { return lane ^ bits; });
}

inline unsigned __ballot_sync(unsigned mask, int predicate, CMAD_HERE) {
  unsigned bits = 0;
  cmad::emulate::each_lane(
      cmad::emulate::Block::running->exchange("__ballot_sync", mask, predicate != 0, false, here),
      mask, [&](std::uint64_t value, unsigned lane) { bits |= unsigned(value) << lane; });
  return bits;
}
inline int __any_sync(unsigned mask, int predicate, CMAD_HERE) {
  return __ballot_sync(mask, predicate, here) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CMAD_HERE) {
  return __ballot_sync(mask, predicate, here) == mask;
}

template <class T>
T __reduce_add_sync(unsigned mask, T value, CMAD_HERE) {
  return cmad::emulate::reduce("__reduce_add_sync", mask, value, here,
                               [](T a, T b) { return T(unsigned(a) + unsigned(b)); });
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, CMAD_HERE) {
  return cmad::emulate::reduce("__reduce_min_sync", mask, value, here,
                               [](T a, T b) { return std::min(a, b); });
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, CMAD_HERE) {
  return cmad::emulate::reduce("__reduce_max_sync", mask, value, here,
                               [](T a, T b) { return std::max(a, b); });
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, CMAD_HERE) {
  return cmad::emulate::reduce("__reduce_and_sync", mask, value, here,
                               [](unsigned a, unsigned b) { return a & b; });
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, CMAD_HERE) {
  return cmad::emulate::reduce("__reduce_or_sync", mask, value, here,
                               [](unsigned a, unsigned b) { return a | b; });
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, CMAD_HERE) {
  return cmad::emulate::reduce("__reduce_xor_sync", mask, value, here,
                               [](unsigned a, unsigned b) { return a ^ b; });
}

template <class T>
T atomicAdd(cmad::Pointer<T> at, cmad::emulate::Same<T> value) {
  static_assert(cmad::emulate::is_one_of<T, int, unsigned, cmad::emulate::U64, float, double>);
  return cmad::emulate::atomic(at, [=](T old) {
    if constexpr (std::is_same_v<T, int>)
      return int(unsigned(old) + unsigned(value));
    else
      return T(old + value);
  });
}
template <class T>
T atomicMin(cmad::Pointer<T> at, cmad::emulate::Same<T> value) {
  static_assert(cmad::emulate::is_one_of<T, int, unsigned, long long, cmad::emulate::U64>);
  return cmad::emulate::atomic(at, [=](T old) { return std::min(old, value); });
}
template <class T>
T atomicMax(cmad::Pointer<T> at, cmad::emulate::Same<T> value) {
  static_assert(cmad::emulate::is_one_of<T, int, unsigned, long long, cmad::emulate::U64>);
  return cmad::emulate::atomic(at, [=](T old) { return std::max(old, value); });
}
template <class T>
T atomicCAS(cmad::Pointer<T> at, cmad::emulate::Same<T> expected, cmad::emulate::Same<T> value) {
  static_assert(cmad::emulate::is_one_of<T, int, unsigned, cmad::emulate::U64, unsigned short>);
  return cmad::emulate::atomic(at, [=](T old) { return old == expected ? value : old; });
}

template <class T>
T __ldg(cmad::Pointer<const T> at) {
  return *at;
}
inline float __fdividef(float x, float y) { return x / y; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(unsigned(bits)); }

#undef CMAD_HERE
