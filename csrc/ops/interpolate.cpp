#include "ops/interpolate.h"

#include <algorithm>

#include "core/parallel.h"
#include "core/simd.h"

namespace cmad {
namespace {

CMAD_SIMD void add(float* __restrict out, const float* __restrict feature, float weight,
                   std::int64_t D) {
  for (std::int64_t d = 0; d < D; ++d) out[d] += weight * feature[d];
}

}  // namespace

template <>
void interpolate<Cpu>(const Interpolate& p, void* stream) {
  parallel_for(p.P, 256, stream, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      float* out = p.out + row * p.D;
      std::fill(out, out + p.D, 0.0f);
      for (std::int64_t i = p.start[row]; i < p.start[row + 1]; ++i)
        add(out, p.feature + std::int64_t(p.index[i]) * p.D, p.weight[i], p.D);
    }
  });
}

}  // namespace cmad
