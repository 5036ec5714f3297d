#include <cfloat>
#include <cmath>
#include <cstdint>
#include <stdexcept>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/knn.h"
#include "ops/knn_encode.cuh"
#include "ops/knn_measure.cuh"

namespace cmad {

template <>
void knn_encode<Cuda>(const KnnEncode& p, void* stream) {
  if (p.M == 0) return;
  encode_rows(p.row, p.number, p.into, p.code, p.bound, nullptr, p.M, stream);
}

template <>
std::int64_t knn_parts<Cuda>(std::int64_t Q, std::int64_t M, std::int64_t) {
  constexpr std::int64_t kMost = 128, kBlocks = 264;  // 2 on each of 132 processors
  const std::int64_t wanted = kBlocks / (Q < kQueries ? 1 : pieces(Q, kQueries));
  const std::int64_t few = pieces(M, 8 * kRoundRows), parts = wanted < few ? wanted : few;
  return parts < 1 ? 1 : parts < kMost ? parts : kMost;
}

template <>
void knn<Cuda>(const Knn& p, void* stream) {
  if (p.Q == 0) return;
  const int K = int(p.K);
  const dim3 grid(unsigned(pieces(p.Q, kQueries)), unsigned(p.parts));
  with_rows(p.row, p.number, [&](auto rows) {
    launch("knn", measure_kernel<decltype(rows)>, grid, kMeasureThreads, 0, stream, p.query, rows,
           p.distance, p.index, p.part_distance, p.part_index, p.Q, p.M, p.into.D, K, p.first);
  });
  launch("knn", join_kernel, unsigned(pieces(p.Q, 4)), 128, 0, stream, p.distance, p.index,
         p.part_distance, p.part_index, p.given_up, p.Q, int(p.parts), K);
}

}  // namespace cmad
