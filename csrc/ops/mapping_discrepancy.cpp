#include "ops/mapping_discrepancy.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/parallel.h"
#include "ops/mapping_paths.h"
#if defined(CMAD_AMX)
#include <cpuid.h>
#endif

namespace cmad {
namespace {

const MappingBlocks& blocks_of(int path) {
  switch (static_cast<MappingPath>(path)) {
#if defined(__x86_64__)
    case MappingPath::avx2:
      return mapping_blocks_avx2();
    case MappingPath::avx512:
      return mapping_blocks_avx512();
    case MappingPath::avx512_bf16:
      return mapping_blocks_avx512_bf16();
#if defined(CMAD_AMX)
    case MappingPath::amx_bf16:
      return mapping_blocks_amx_bf16();
#endif
#endif
    default:
      return mapping_blocks_plain();
  }
}

#if defined(CMAD_AMX)
/// Whether there are tile registers that multiply bfloat16; asked for by number, since compilers
/// from 2021 do not know the name.
bool amx() {
  unsigned a, b, c, d;
  constexpr unsigned kBfloat16 = 1u << 22, kTiles = 1u << 24;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kBfloat16) && (d & kTiles) &&
         amx_allowed();
}
#endif

/// As rows are divided by it.
double length(double squares) { return std::max(std::sqrt(squares), 1e-12); }

/// Floats aligned to 64 bytes.
class Scratch {
 public:
  explicit Scratch(std::int64_t n) : memory_(n + 16) {}
  float* data() {
    const auto at = reinterpret_cast<std::uintptr_t>(memory_.data());
    return memory_.data() + (-at % 64) / sizeof(float);
  }

 private:
  std::vector<float> memory_;
};

/// Of a distance whose root is off by less than 3e-6, or in bfloat16 2e-3, from there on: its
/// square is off by 8 * 2^-24 or 2^-11.
bool lost(const MappingDiscrepancy& p, const MappingSums& s, double scale, double d2) {
  return mapping_lost(p.round ? 0.2 : 0.1, s.activation * s.matched * scale * scale, d2);
}

}  // namespace

template <>
MappingLayout mapping_layout<Cpu>(MappingPath path, MappingPrecision precision) {
  const bool any = path == MappingPath::best, half = precision == MappingPrecision::bf16;
  const MappingNumber number = half ? MappingNumber::bfloat16 : MappingNumber::float32;
#if defined(__x86_64__)
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const bool pairs = half && wide && __builtin_cpu_supports("avx512bf16");
#if defined(CMAD_AMX)
  if (pairs && (any || path == MappingPath::amx_bf16) && amx())
    return {int(MappingPath::amx_bf16), 32, MappingNumber::bfloat16_pairs};
#endif
  if (pairs && (any || path == MappingPath::avx512_bf16))
    return {int(MappingPath::avx512_bf16), 32, MappingNumber::bfloat16_pairs};
  if ((any || path == MappingPath::avx512) && wide) return {int(MappingPath::avx512), 32, number};
  if ((any || path == MappingPath::avx2) && __builtin_cpu_supports("avx2") &&
      __builtin_cpu_supports("fma"))
    return {int(MappingPath::avx2), 16, number};
#endif
  if (any || path == MappingPath::plain) return {int(MappingPath::plain), 16, number};
  return {0, 0, number};
}

template <>
void mapping_discrepancy<Cpu>(const MappingDiscrepancy& p, void* stream) {
  const MappingBlocks& block = blocks_of(p.path);
  const std::int64_t pixels = block.pixels;
  parallel_for((p.P + pixels - 1) / pixels, 1, stream, [&](std::int64_t begin, std::int64_t end) {
    Scratch rows(2 * pixels * p.H), wide(pixels * p.D);
    std::vector<MappingSums> sums(pixels);
    std::vector<std::int64_t> pixel(pixels), row(pixels);
    std::vector<double> scales(2 * pixels), differences(pixels);
    auto* scale = reinterpret_cast<double (*)[2]>(scales.data());
    for (std::int64_t b = begin; b < end; ++b) {
      const std::int64_t first = b * pixels, count = std::min(pixels, p.P - first);
      block.sums(p, first, count, rows.data(), sums.data());
      std::int64_t again = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const MappingSums& s = sums[i];
        const double sf = 1 / length(s.predicted), se = 1 / length(s.observed);
        const double d2 = s.predicted * sf * sf + s.observed * se * se - 2 * s.product * sf * se;
        // The limits come second, so that NaN stays NaN.
        p.psi[first + i] = float(std::min(std::sqrt(std::max(d2, 0.0)), 2.0));
        if (!lost(p, s, sf * se, d2)) continue;
        scale[again][0] = sf;
        scale[again][1] = se;
        pixel[again] = first + i;
        row[again++] = i;
      }
      if (again == 0) continue;
      block.differences(p, pixel.data(), row.data(), again, scale, rows.data(), wide.data(),
                        differences.data());
      for (std::int64_t i = 0; i < again; ++i)
        p.psi[pixel[i]] = float(std::min(std::sqrt(differences[i]), 2.0));
    }
  });
}

}  // namespace cmad
