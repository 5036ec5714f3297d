#include <cfloat>
#include <cmath>
#include <cstdint>
#include <stdexcept>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/knn.h"
#include "ops/knn_encode.cuh"
#include "ops/knn_measure.cuh"
#include "ops/knn_rank.cuh"
#include "ops/knn_scan.cuh"

namespace cmad {

template <>
void knn_encode<Cuda>(const KnnEncode& p, void* stream) {
  if (p.M == 0) return;
  encode_rows(p.row, p.number, p.into, p.code, p.bound, nullptr, p.M, stream);
}

template <>
std::int64_t knn_parts<Cuda>(std::int64_t Q, std::int64_t M, std::int64_t K, bool coded) {
  constexpr std::int64_t kBlocks = 264, kRows = 1024;  // 2 on each of 132 processors; at least
  const std::int64_t groups = pieces(Q < 1 ? 1 : Q, coded ? kSide : kQueries);
  // A list keeps 32 rows: with a fourth of the k nearest in it the certificate has some room.
  const std::int64_t least = coded && K > 8 ? pieces(K, 8) : 1, most = pieces(M, kRows);
  const std::int64_t wanted = kBlocks / groups > least ? kBlocks / groups : least;
  const std::int64_t parts = wanted < most ? wanted : most;
  return parts < 1 ? 1 : parts < kMostParts ? parts : kMostParts;
}

namespace {

void measure_all(const Knn& p, void* stream) {
  const int K = int(p.K);
  const dim3 grid(unsigned(pieces(p.Q, kQueries)), unsigned(p.parts));
  with_rows(p.row, p.number, [&](auto rows) {
    launch("knn: measure_kernel", measure_kernel<decltype(rows)>, grid, kMeasureThreads, 0, stream,
           p.query, rows, p.distance, p.index, p.part_distance, p.part_index, p.Q, p.M, p.into.D, K,
           p.first);
  });
  launch("knn: join_kernel", join_kernel, unsigned(pieces(p.Q, 4)), 128, 0, stream, p.distance,
         p.index, p.part_distance, p.part_index, p.given_up, p.Q, int(p.parts), K);
}

const unsigned* words(const std::uint8_t* code) {
  return static_cast<const unsigned*>(static_cast<const void*>(code));
}

void scan_and_rank(const Knn& p, void* stream) {
  const int K = int(p.K), parts = int(p.parts);
  const std::int64_t D = p.into.D, C = p.into.C();
  const double scale = p.into.scale;
  encode_rows(p.query, Number::float32, p.into, p.query_code, nullptr, p.query_number, p.Q, stream);
  launch("knn: scan_kernel", scan_kernel, dim3(unsigned(pieces(p.Q, kSide)), unsigned(parts)),
         kScanThreads, kScanBytes, stream, p.code, p.bound, p.query_code, p.query_number,
         p.distance, p.part_index, p.Q, p.M, C, K, scale);
  with_rows(p.row, p.number, [&](auto rows) {
    launch("knn: rank_kernel", rank_kernel<decltype(rows)>, unsigned(pieces(p.Q, kRankWarps)),
           32 * kRankWarps, 0, stream, p.query, rows, p.query_number, p.part_index, p.distance,
           p.index, p.given_up, p.Q, D, K, parts, p.first, scale);
    launch("knn: rescan_kernel", rescan_kernel<decltype(rows)>, unsigned(p.Q), kRescanThreads, 0,
           stream, p.query, rows, words(p.code), p.bound, words(p.query_code), p.query_number,
           p.part_index, p.distance, p.index, p.M, D, C, K, parts, p.first, scale);
  });
}

}  // namespace

template <>
void knn<Cuda>(const Knn& p, void* stream) {
  if (p.Q == 0) return;
  p.code == nullptr ? measure_all(p, stream) : scan_and_rank(p, stream);
}

}  // namespace cmad
