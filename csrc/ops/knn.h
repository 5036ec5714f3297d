#pragma once

#include <cstdint>

#include "core/device.h"
#include "core/half.h"
#include "core/int8_dot.h"

namespace cmad {

/// A map of rows into few dimensions that never lengthens a distance, in 8 bits with error bounds.
///
/// A row x goes to p = basis (x - centre) scale and to the length of what the basis does not span:
/// the distance of two such pairs is at most scale times that of the rows. p is rounded to 8-bit
/// codes times a step of its own; `radius` bounds what rounding, of all kinds, moved the row by.
struct Embedding {
  const float* centre;  // [D]
  const float* basis;   // [D, P] orthonormal or shorter, on a GPU P <= 128; null: the unit
                        // vectors, P = D
  std::int64_t D, P;    // 1 <= D <= 65536
  float scale;          // a power of two

  /// Columns of codes: P with zeros up to a multiple of 4.
  std::int64_t C() const { return (P + 3) / 4 * 4; }
};

/// The bank's side of the search, computed once.
struct KnnEncode {
  const void* row;  // [M, D] of `number`
  Number number;
  Embedding into;
  std::uint8_t* code;  // [T, 4, C / 4, 16, 4] out: codes + 128; T = ceil(M / 64) tiles
  float* bound;        // [T, 4, 64] out: base, radius, rest, step of each row (ops/knn_code.h)
  std::int64_t M;
};
template <class Device>
void knn_encode(const KnnEncode&, void* stream);
template <>
void knn_encode<Cpu>(const KnnEncode&, void* stream);
template <>
void knn_encode<Cuda>(const KnnEncode&, void* stream);

/// Parts of the bank that a GPU searches at once, each with lists of its own; 0 for the CPU.
template <class Device>
std::int64_t knn_parts(std::int64_t Q, std::int64_t M, std::int64_t K, bool coded);
template <>
inline std::int64_t knn_parts<Cpu>(std::int64_t, std::int64_t, std::int64_t, bool) {
  return 0;
}
template <>
std::int64_t knn_parts<Cuda>(std::int64_t Q, std::int64_t M, std::int64_t K, bool coded);

/// The k nearest rows of each query by squared Euclidean distance, added up in float64 of the
/// values as given; ties go to the lowest index. Nearest first.
///
/// Codes choose which rows are measured, never what is returned. Continues lists, so that a bank
/// may come in pieces: start from infinite distances.
struct Knn {
  const float* query;  // [Q, D] finite
  const void* row;     // [M, D] of `number`, finite
  Number number;
  Embedding into;
  const std::uint8_t* code;  // [T, 4, C / 4, 16, 4] as above; null: every row is measured
  const float* bound;        // [T, 4, 64]
  double* distance;          // [Q, K] in, out
  std::int64_t* index;       // [Q, K] in, out: `first` + the row's number
  // [Q] out: the basis excludes so few rows that a search with all columns is faster; the query's
  // list is as it was. Never where there is no basis, nor on a GPU.
  bool* given_up;
  // Scratch, of a GPU only: lists of the parts, and the queries as the scan reads them.
  double* part_distance;     // [Q, parts, 32] where every row is measured
  std::int64_t* part_index;  // [Q, parts, 32]
  std::uint8_t* query_code;  // [ceil(Q / 64), 4, C / 4, 16, 4] where not
  double* query_number;      // [Q, 5] where not
  std::int64_t Q, M, K;      // K <= 32 on a GPU
  std::int64_t parts;
  std::int64_t first;
  Int8Path path;
  std::int64_t query_block, row_block;  // sizes of the blocks; row_block a multiple of 64
};
template <class Device>
void knn(const Knn&, void* stream);
template <>
void knn<Cpu>(const Knn&, void* stream);
template <>
void knn<Cuda>(const Knn&, void* stream);

}  // namespace cmad
