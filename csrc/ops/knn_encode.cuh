#pragma once

#include "ops/knn_list.cuh"

// What the scan reads of a row: a warp has one. The expressions, and so the codes, are those of
// knn_code.cpp; sums in float64 are added in another order, which the bounds have room for.

namespace cmad {

constexpr int kEncodeWarps = 8, kChunk = 64;  // entries added up in float before they go to double
constexpr int kMostColumns = 128;             // of a basis
constexpr double kLongest2 = 1e30, kUnit = 0x1p-24;

/// Of a query, for `Aim` (knn_scan.cuh).
constexpr int kNumbers = 5;  // norm2, radius, rest, step, sum of the codes

template <class T>
__device__ T total(T sum) {
  for (int lane = 16; lane > 0; lane /= 2) sum += __shfl_xor_sync(kAllLanes, sum, lane);
  return sum;
}
__device__ inline float most_of(float x) {
  for (int lane = 16; lane > 0; lane /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, x, lane);
    x = other > x ? other : x;
  }
  return x;
}

/// Codes go to tiles of 64 rows. `bound` is for rows of a bank, whose codes have 128 added,
/// `number` for queries, and the other has no elements.
template <class R>
__global__ void __launch_bounds__(32 * kEncodeWarps)
    encode_kernel(R row, Pointer<const float> centre, Pointer<const float> basis, bool has_basis,
                  Pointer<std::uint8_t> code, Pointer<float> bound, Pointer<double> number,
                  bool queries, std::int64_t M, std::int64_t D, std::int64_t P, std::int64_t C,
                  float scale) {
  __shared__ Shared<float[kEncodeWarps * kChunk]> chunks;
  __shared__ Shared<float[kEncodeWarps * kMostColumns]> images;
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const std::int64_t m = std::int64_t(blockIdx.x) * kEncodeWarps + warp, tile = m / 64;
  const Pointer<float> chunk = chunks + warp * kChunk, image = images + warp * kMostColumns;
  const bool there = m < M;  // else a row that fills the last tile
  const auto z = [&](std::int64_t d) -> float {
    return there ? (row(m * D + d) - centre[d]) * scale : 0;
  };

  double length2 = 0, p2 = 0;
  float most = 0;
  if (has_basis) {
    double sum[kMostColumns / 32] = {};
    for (std::int64_t from = 0; from < D; from += kChunk) {
      const int n = int(D - from < kChunk ? D - from : kChunk);
      for (int d = lane; d < n; d += 32) {
        const float x = z(from + d);
        length2 += double(x) * double(x);
        chunk[d] = x;
      }
      __syncwarp();
      for (int i = 0; i < kMostColumns / 32; ++i) {
        const std::int64_t column = lane + 32 * i;
        float part = 0;
        for (int d = 0; d < n && column < P; ++d)
          part += float(chunk[d]) * basis[(from + d) * P + column];
        sum[i] += double(part);
      }
      __syncwarp();  // before the chunk is filled again
    }
    for (int i = 0; i < kMostColumns / 32; ++i) {
      const float p = float(sum[i]), size = std::fabs(p);
      p2 += double(p) * double(p);
      most = size > most ? size : most;
      image[lane + 32 * i] = p;  // 0 beyond P
    }
    __syncwarp();
  } else {
    for (std::int64_t d = lane; d < D; d += 32) {
      const float x = z(d), size = std::fabs(x);
      length2 += double(x) * double(x);
      most = size > most ? size : most;
    }
  }
  length2 = total(length2);
  const bool usable = length2 < kLongest2;
  const double length = std::sqrt(length2);
  double error = 2 * kUnit * length, rest = 0;
  if (has_basis) {
    error += 68 * kUnit * std::sqrt(double(P)) * length;
    const double rest2 = length2 - total(p2), error2 = 4 * length * error;
    rest = std::sqrt(rest2 > 0 ? rest2 : 0);
    const double least = std::sqrt(error2) + 1e-300;
    error += error2 / (rest > least ? rest : least);
  }
  const float step = most_of(most) * (1 / 127.0f), inverse = step > 0 ? 1 / step : 0;

  double residual2 = 0;
  int squares = 0, sum = 0;
  const int added = queries ? 0 : 128;
  const int at = int(m % 64);
  const Pointer<std::uint8_t> to = code + tile * 64 * C + at / 16 * C * 16 + 4 * (at % 16);
  for (std::int64_t c = 4 * lane; c < C; c += 4 * 32)
    for (int i = 0; i < 4; ++i) {
      const float p = c + i >= P ? 0 : has_basis ? float(image[c + i]) : z(c + i);
      const float near = (p * inverse + 12582912.0f) - 12582912.0f;  // knn_code.cpp
      const float low = near < 127.0f ? near : 127.0f, whole = low > -127.0f ? low : -127.0f;
      const int four = usable ? int(whole) : 0;
      const double left = double(p) - double(whole) * double(step);
      residual2 += left * left;
      squares += four * four;
      sum += four;
      to[16 * c + i] = std::uint8_t(four + added);
    }
  residual2 = total(residual2);
  squares = total(squares);
  sum = total(sum);
  if (lane > 0) return;

  const double norm2 = double(step) * step * double(squares) + rest * rest;
  const double radius = (std::sqrt(residual2) + error) * (1 + 1e-6) + 1e-30;
  const bool good = usable && norm2 < kLongest2;
  if (queries) {
    if (!there) return;
    const Pointer<double> n = number + m * kNumbers;
    n[0] = usable ? norm2 : INFINITY;
    n[1] = usable ? radius : 0;
    n[2] = usable ? rest : 0;
    n[3] = usable ? double(step) : 0;
    n[4] = double(sum);
    return;
  }
  const Pointer<float> b = bound + tile * 4 * 64 + at;
  const double r2 = radius * radius;
  b[0] = !there ? INFINITY : good ? float(norm2 - r2 - 2e-6 * (norm2 + r2) - 1e-36) : -FLT_MAX;
  b[64] = good && there ? float(radius * (1 + 1e-6)) : 0;
  b[128] = good && there ? float(rest) : 0;
  b[192] = good && there ? step : 0;
}

/// Encodes a bank's rows, or queries.
inline void encode_rows(const void* row, Number number, const Embedding& into, std::uint8_t* code,
                        float* bound, double* numbers, std::int64_t M, void* stream) {
  if (into.basis != nullptr && into.P > kMostColumns)
    throw std::invalid_argument("knn: a basis of more than 128 columns");
  const auto blocks = unsigned(pieces(M, 64) * 64 / kEncodeWarps);
  with_rows(row, number, [&](auto rows) {
    launch("knn: encode_kernel", encode_kernel<decltype(rows)>, blocks, 32 * kEncodeWarps, 0,
           stream, rows, into.centre, into.basis, into.basis != nullptr, code, bound, numbers,
           bound == nullptr, M, into.D, into.P, into.C(), into.scale);
  });
}

}  // namespace cmad
