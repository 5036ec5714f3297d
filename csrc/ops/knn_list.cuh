#pragma once

#include <cstdint>

#include "core/half.h"
#include "core/launch.cuh"

// What the kernels of knn share: reading rows, measuring them, and a warp's list of the nearest.

namespace cmad {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kMostK = 32;  // a lane has an entry of a list

/// Rows of numbers, each of which is a float.
template <Number number>
struct Rows;
template <>
struct Rows<Number::float32> {
  Pointer<const float> at;
  __device__ float operator()(std::int64_t i) const { return at[i]; }
};
template <>
struct Rows<Number::float16> {
  Pointer<const std::uint16_t> at;
  __device__ float operator()(std::int64_t i) const { return float16_to_float(at[i]); }
};
template <>
struct Rows<Number::bfloat16> {
  Pointer<const std::uint16_t> at;
  __device__ float operator()(std::int64_t i) const {
    return from_bits(std::uint32_t(at[i]) << 16);
  }
};

/// Calls `f(rows)` with the type that the numbers have.
template <class F>
void with_rows(const void* row, Number number, F&& f) {
  if (number == Number::float32)
    f(Rows<Number::float32>{static_cast<const float*>(row)});
  else if (number == Number::float16)
    f(Rows<Number::float16>{static_cast<const std::uint16_t*>(row)});
  else
    f(Rows<Number::bfloat16>{static_cast<const std::uint16_t*>(row)});
}

constexpr int kLanes = 16;  // of a distance, as in knn_distance.h: half a warp has one

/// The squared distance of a query and row m, in each of the 16 lanes; all lanes of the warp call.
template <class R>
__device__ double distance2(Pointer<const float> query, R row, std::int64_t m, std::int64_t D,
                            int lane) {
  double sum = 0;
  for (std::int64_t d = lane; d < D; d += kLanes) {
    const double e = double(query[d]) - double(row(m * D + d));
    sum += e * e;
  }
  for (int half = kLanes / 2; half > 0; half /= 2) sum += __shfl_xor_sync(kAllLanes, sum, half);
  return sum;
}

/// The nearest rows by distance, then index; each lane of a warp has one, the first lane the first.
struct Nearest {
  double distance;
  std::int64_t index;

  __device__ bool after(double d, std::int64_t i) const {
    return d < distance || (d == distance && i < index);
  }
  __device__ double worst(int K) const { return __shfl_sync(kAllLanes, distance, K - 1); }

  /// Adds a row that all lanes know, unless it comes after all of the list or is in it.
  __device__ void add(double d, std::int64_t i, int lane) {
    if (__any_sync(kAllLanes, index == i)) return;
    const int at = __popc(__ballot_sync(kAllLanes, !after(d, i)));
    const double d_before = __shfl_up_sync(kAllLanes, distance, 1);
    const std::int64_t i_before = __shfl_up_sync(kAllLanes, index, 1);
    if (lane < at) return;
    distance = lane == at ? d : d_before;
    index = lane == at ? i : i_before;
  }

  /// Adds what lanes have that come before the K-th.
  __device__ void add_of_lanes(double d, std::int64_t i, int K, int lane) {
    const double kth = __shfl_sync(kAllLanes, distance, K - 1);
    const std::int64_t kth_index = __shfl_sync(kAllLanes, index, K - 1);
    unsigned some = __ballot_sync(kAllLanes, d < kth || (d == kth && i < kth_index));
    for (; some != 0; some &= some - 1) {
      const int from = __ffs(int(some)) - 1;
      const double of = __shfl_sync(kAllLanes, d, from);
      add(of, __shfl_sync(kAllLanes, i, from), lane);
    }
  }
};

/// Entry `lane` of a stored list of K; beyond it the last.
__device__ inline Nearest load(Pointer<double> distance, Pointer<std::int64_t> index, int K,
                               int lane) {
  const int at = lane < K ? lane : K - 1;
  return {distance[at], index[at]};
}
__device__ inline void store(const Nearest& list, Pointer<double> distance,
                             Pointer<std::int64_t> index, int K, int lane) {
  __syncwarp();  // after all have loaded it
  if (lane >= K) return;
  distance[lane] = list.distance;
  index[lane] = list.index;
}

}  // namespace cmad
