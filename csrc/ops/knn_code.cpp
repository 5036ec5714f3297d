#include "ops/knn_code.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "core/simd.h"

namespace cmad {
namespace {

constexpr double kUnit = 0x1p-24;  // relative rounding error of a float operation

CMAD_SIMD void centred(const float* __restrict x, const float* __restrict centre, float scale,
                       std::int64_t D, float* __restrict z) {
  for (std::int64_t d = 0; d < D; ++d) z[d] = (x[d] - centre[d]) * scale;
}

constexpr int kLanes = 16;

double total(const double* lane) {
  double sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += lane[i];
  return sum;
}

CMAD_SIMD double squares(const float* __restrict z, std::int64_t D) {
  double sum[kLanes] = {};
  std::int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes)
    for (int i = 0; i < kLanes; ++i) sum[i] += double(z[d + i]) * double(z[d + i]);
  for (; d < D; ++d) sum[0] += double(z[d]) * double(z[d]);
  return total(sum);
}

CMAD_SIMD float largest(const float* p, std::int64_t P) {
  float most[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= P; i += kLanes)
    for (int l = 0; l < kLanes; ++l) {
      const float size = std::fabs(p[i + l]);
      most[l] = size > most[l] ? size : most[l];
    }
  for (; i < P; ++i) most[0] = std::max(most[0], std::fabs(p[i]));
  return *std::max_element(most, most + kLanes);
}

/// part[i] = the sum over n entries of z times the basis.
CMAD_SIMD void project(const float* __restrict z, const float* __restrict basis, std::int64_t n,
                       std::int64_t P, float* __restrict part) {
  constexpr std::int64_t kWidth = 64;
  std::int64_t i = 0;
  for (; i + kWidth <= P; i += kWidth) {
    float sum[kWidth] = {};
    for (std::int64_t d = 0; d < n; ++d)
      for (std::int64_t w = 0; w < kWidth; ++w) sum[w] += z[d] * basis[d * P + i + w];
    for (std::int64_t w = 0; w < kWidth; ++w) part[i + w] = sum[w];
  }
  for (; i < P; ++i) {
    float sum = 0;
    for (std::int64_t d = 0; d < n; ++d) sum += z[d] * basis[d * P + i];
    part[i] = sum;
  }
}

struct Codes {
  double residual2;
  std::int64_t sum, squares;
};

/// Rounds p / step to codes in [-127, 127]. In passes over a part, each of which is vectorised.
CMAD_SIMD Codes round_to(const float* __restrict p, std::int64_t P, float step,
                         std::int8_t* __restrict code) {
  constexpr std::int64_t kPart = 256;
  const float inverse = step > 0 ? 1 / step : 0;
  const double wide = double(step);
  float whole[kPart];
  double left[kPart], residual2[kLanes] = {};
  Codes codes{0, 0, 0};
  for (std::int64_t d = 0; d < P; d += kPart) {
    const std::int64_t n = std::min(kPart, P - d);
    for (std::int64_t i = 0; i < n; ++i) {
      // Adding 1.5 * 2^23 rounds to the nearest whole number in the lowest bits.
      const float near = (p[d + i] * inverse + 12582912.0f) - 12582912.0f;
      const float low = near < 127.0f ? near : 127.0f;
      whole[i] = low > -127.0f ? low : -127.0f;
    }
    std::int32_t sum = 0, square = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const auto c = std::int32_t(whole[i]);
      sum += c;
      square += c * c;
    }
    codes.sum += sum;
    codes.squares += square;
    for (std::int64_t i = 0; i < n; ++i) code[d + i] = std::int8_t(std::int32_t(whole[i]));
    for (std::int64_t i = 0; i < n; ++i) left[i] = double(p[d + i]) - double(whole[i]) * wide;
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      for (int l = 0; l < kLanes; ++l) residual2[l] += left[i + l] * left[i + l];
    for (; i < n; ++i) residual2[0] += left[i] * left[i];
  }
  codes.residual2 = total(residual2);
  return codes;
}

/// Puts a row's codes into its place of a tile, 128 added, which flips the sign bit.
void place(const std::int8_t* code, std::int64_t C, int at, std::uint8_t* tile) {
  std::uint8_t* to = tile + (at / kPanelRows) * C * kPanelRows + 4 * (at % kPanelRows);
  for (std::int64_t c = 0; c < C; c += 4, to += 4 * kPanelRows) {
    std::uint32_t four;
    std::memcpy(&four, code + c, sizeof four);
    four ^= 0x80808080u;
    std::memcpy(to, &four, sizeof four);
  }
}

}  // namespace

Encoded Encoder::operator()(const void* row, Number number, std::int8_t* code) {
  const std::int64_t D = into_.D, P = into_.P;
  centred(as_floats(row, number, 0, D, buffer_.data()), into_.centre, into_.scale, D, z_.data());
  const double length2 = squares(z_.data(), D), length = std::sqrt(length2);
  std::fill(code, code + into_.C(), std::int8_t(0));
  if (!(length2 < kLongest2)) return {std::numeric_limits<double>::infinity(), 0, 0, 0, 0};

  const float* p = z_.data();
  double error = 2 * kUnit * length;  // of the difference from the centre
  double rest = 0;
  if (into_.basis != nullptr) {
    std::fill(p_.begin(), p_.end(), 0);
    for (std::int64_t d = 0; d < D; d += kChunk) {
      project(z_.data() + d, into_.basis + d * P, std::min(kChunk, D - d), P, part_.data());
      for (std::int64_t i = 0; i < P; ++i) p_[i] += double(part_[i]);
    }
    // A sum of 64 products in float is off by less than 65 units of the sum of their sizes, and
    // columns of the basis are at most 1 long; with the differences and the rounding of p below.
    error += 68 * kUnit * std::sqrt(double(P)) * length;
    for (std::int64_t i = 0; i < P; ++i) part_[i] = float(p_[i]);
    p = part_.data();
    const double rest2 = std::max(0.0, length2 - squares(p, P));
    const double error2 = 4 * length * error;  // of rest2: each length's square is off by 2 of it
    rest = std::sqrt(rest2);
    error += error2 / std::max(rest, std::sqrt(error2) + 1e-300);
  }
  const float step = largest(p, P) * (1 / 127.0f);
  const Codes codes = round_to(p, P, step, code);
  const double radius = (std::sqrt(codes.residual2) + error) * (1 + 1e-6) + 1e-30;
  return {double(step) * step * double(codes.squares) + rest * rest, radius, rest, double(step),
          codes.sum};
}

template <>
void knn_encode<Cpu>(const KnnEncode& p, void* stream) {
  const std::int64_t C = p.into.C(), row_bytes = p.into.D * bytes_of(p.number);
  const std::int64_t tiles = (p.M + kTileRows - 1) / kTileRows;
  parallel_for(tiles, 4, stream, [&](std::int64_t begin, std::int64_t end) {
    Encoder encode(p.into);
    std::vector<std::int8_t> code(C);
    for (std::int64_t t = begin; t < end; ++t) {
      std::uint8_t* tile = p.code + t * kTileRows * C;
      float* base = p.bound + 4 * t * kTileRows;
      float *radius = base + kTileRows, *rest = radius + kTileRows, *step = rest + kTileRows;
      for (int i = 0; i < kTileRows; ++i) {
        const std::int64_t m = t * kTileRows + i;
        if (m >= p.M) {  // never kept
          std::fill(code.begin(), code.end(), std::int8_t(0));
          base[i] = std::numeric_limits<float>::infinity();
          radius[i] = rest[i] = step[i] = 0;
        } else {
          const Encoded e =
              encode(static_cast<const char*>(p.row) + m * row_bytes, p.number, code.data());
          const bool usable = e.norm2 < kLongest2;
          const double r2 = e.radius * e.radius;
          // Less what the float arithmetic of the scan may be off by.
          base[i] = usable ? float(e.norm2 - r2 - 2e-6 * (e.norm2 + r2) - 1e-36)
                           : -std::numeric_limits<float>::max();
          radius[i] = usable ? float(e.radius * (1 + 1e-6)) : 0;
          rest[i] = usable ? float(e.rest) : 0;
          step[i] = usable ? float(e.step) : 0;
        }
        place(code.data(), C, i, tile);
      }
    }
  });
}

}  // namespace cmad
