#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/mapping_discrepancy.h"

// One block of pixels of mapping_discrepancy, for one instruction set. Included by one source file
// per set, each compiled with its own flags: everything is local to the file, and no header of the
// standard library is used whose functions the linker could share with other files.

namespace cmad {

/// What a block leaves of each pixel, by which psi is decided.
struct MappingSums {
  double predicted, observed, product;  // |f|^2, |e|^2, e.f
  double activation, matched;           // |h|^2, |W3^T e|^2
};

struct MappingBlocks {
  int pixels;  // of a block
  /// Sums of `count` pixels from `begin` on. `rows` [2][pixels][H] floats of scratch, aligned to
  /// 64 bytes; afterwards the second half holds h.
  void (*sums)(const MappingDiscrepancy& p, std::int64_t begin, std::int64_t count, float* rows,
               MappingSums* out);
  /// |f / |f| - e / |e||^2 by differences of `count` of these pixels; `rows` as `sums` left it.
  /// `length` [count][2] 1 / |f| and 1 / |e|. `wide` [pixels][D] floats of scratch, aligned.
  void (*differences)(const MappingDiscrepancy& p, const std::int64_t* pixel,
                      const std::int64_t* row, std::int64_t count, const double (*length)[2],
                      float* rows, float* wide, double* out);
};

namespace {

template <int Lanes>
struct VectorOf {
  typedef float type __attribute__((vector_size(4 * Lanes)));
};

/// Activations and weights as floats.
template <int Lanes, int Rows, int Vectors>
struct Floats {
  static constexpr int lanes = Lanes, rows = Rows, vectors = Vectors, width = Lanes * Vectors;
  static constexpr int step = 1;  // inputs in one weight
  using V = typename VectorOf<Lanes>::type;
  using Element = float;  // an activation

  static V load(const float* from) {
    V v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
  }
  static void store(float* to, V v) { __builtin_memcpy(to, &v, sizeof v); }
  /// x in all lanes; the compiler leaves out "- 0", which "+ 0" would not be for x = -0.
  static V same(float x) { return x - V{}; }
  static V weights(const void* panel, std::ptrdiff_t at) {
    return load(static_cast<const float*>(panel) + at);
  }
  static V activation(const Element* row, std::ptrdiff_t k) { return same(row[k]); }
  static V add(V sum, V weight, V activation) { return sum + weight * activation; }
  static V read(const Element* row) { return load(row); }
  static void keep(Element* row, V v, bool round) { store(row, round ? rounded(v) : v); }

  /// To bfloat16, ties to even; NaN stays NaN.
  static V rounded(V v) {
    std::uint32_t bits[Lanes];
    __builtin_memcpy(bits, &v, sizeof bits);
    for (int i = 0; i < Lanes; ++i) {
      const std::uint32_t up = bits[i] + 0x7fffu + (bits[i] >> 16 & 1u);
      const bool nan = (bits[i] & 0x7fffffffu) > 0x7f800000u;
      bits[i] = (nan ? bits[i] | 0x400000u : up) & 0xffff0000u;
    }
    __builtin_memcpy(&v, bits, sizeof v);
    return v;
  }
};

template <class S>
double total(typename S::V v) {
  float lane[S::lanes];
  __builtin_memcpy(lane, &v, sizeof lane);
  double sum = 0;
  for (int i = 0; i < S::lanes; ++i) sum += double(lane[i]);
  return sum;
}

/// x times the normal distribution function of x, off by 1.1e-7 |x| at most for |x| < 5.6. The
/// quotient of polynomials in x^2 is a fit to (Phi(x) - 1/2) / x of largest relative error 6e-8.
template <class S>
typename S::V gelu(typename S::V x) {
  using V = typename S::V;
  const V limit = S::same(5.6f), zero = V{};
  V c = x > limit ? limit : x;
  c = c < -limit ? -limit : c;
  const V t = c * c;
  V p = S::same(1.0774783e-10f);
  p = p * t - 2.153029e-08f;
  p = p * t + 3.1910577e-06f;
  p = p * t + 0.00016973497f;
  p = p * t + 0.0045106043f;
  p = p * t + 0.035957348f;
  p = p * t + 0.39894226f;
  V q = S::same(6.169917e-05f);
  q = q * t + 0.0018305777f;
  q = q * t + 0.029108442f;
  q = q * t + 0.25679743f;
  q = q * t + 1.0f;
  const V phi = c * (p / q) + 0.5f;
  return x * (phi < zero ? zero : phi);
}

/// Interpolates columns [n, n + 4 vectors) of a map with `stride` columns at one pixel.
template <class S>
void spread(const Spread& s, std::int64_t pixel, const float* map, std::int64_t stride,
            std::int64_t n, typename S::V sum[4]) {
  for (std::int64_t e = s.start[pixel]; e < s.start[pixel + 1]; ++e) {
    const float* row = map + s.index[e] * stride + n;
    const typename S::V weight = S::same(s.weight[e]);
    for (int v = 0; v < 4; ++v) sum[v] += weight * S::load(row + v * S::lanes);
  }
}

/// sum[i][v] += the products of S::rows rows of activations with one panel, over `inputs` inputs.
/// Not inlined: the sums fill the registers, and nothing else may claim one.
template <class S>
__attribute__((noinline)) void tile(const typename S::Element* left, std::int64_t stride,
                                    const void* panel, std::int64_t inputs,
                                    typename S::V (&sums)[S::rows][S::vectors]) {
  using V = typename S::V;
  V sum[S::rows][S::vectors];
#pragma GCC unroll 16
  for (int i = 0; i < S::rows; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < S::vectors; ++v) sum[i][v] = sums[i][v];
  for (std::int64_t k = 0; k < inputs; k += S::step) {
    V weight[S::vectors];
#pragma GCC unroll 8
    for (int v = 0; v < S::vectors; ++v)
      weight[v] = S::weights(panel, (k / S::step * S::vectors + v) * S::lanes);
#pragma GCC unroll 16
    for (int i = 0; i < S::rows; ++i) {
      const V a = S::activation(left + i * stride, k);
#pragma GCC unroll 8
      for (int v = 0; v < S::vectors; ++v) sum[i][v] = S::add(sum[i][v], weight[v], a);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < S::rows; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < S::vectors; ++v) sums[i][v] = sum[i][v];
}

/// Calls `use(i, n, vector)` for the outputs of one layer: pixel row i, neurons n and following.
/// Of a triangular layer the panel of neurons n has no inputs before n.
template <class S, class Use>
inline __attribute__((always_inline)) void layer(const typename S::Element* rows,
                                                 std::int64_t stride, std::int64_t count,
                                                 const void* weights, const float* bias,
                                                 std::int64_t neurons, bool triangular, Use use) {
  const char* panel = static_cast<const char*>(weights);
  for (std::int64_t n = 0; n < neurons; n += S::width) {
    const std::int64_t first = triangular ? n : 0, inputs = stride - first;
    for (std::int64_t i = 0; i < count; i += S::rows) {
      typename S::V sum[S::rows][S::vectors];
#pragma GCC unroll 16
      for (int r = 0; r < S::rows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < S::vectors; ++v) sum[r][v] = S::load(bias + n + v * S::lanes);
      tile<S>(rows + i * stride + first, stride, panel, inputs, sum);
#pragma GCC unroll 16
      for (int r = 0; r < S::rows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < S::vectors; ++v) use(i + r, n + v * S::lanes, sum[r][v]);
    }
    panel += inputs * S::width * std::int64_t(sizeof(typename S::Element));
  }
}

template <class S>
constexpr int kBlockPixels = 8 * S::rows;

template <class S>
void block_sums(const MappingDiscrepancy& p, std::int64_t begin, std::int64_t count, float* rows,
                MappingSums* out) {
  using V = typename S::V;
  using Element = typename S::Element;
  auto* first = reinterpret_cast<Element*>(rows);
  auto* second = reinterpret_cast<Element*>(rows + kBlockPixels<S> * p.H);
  const std::int64_t filled = (count + S::rows - 1) / S::rows * S::rows;
  for (std::int64_t i = 0; i < filled; ++i)
    for (std::int64_t n = 0; n < p.H; n += 4 * S::lanes) {
      V sum[4];
      for (int v = 0; v < 4; ++v) sum[v] = S::load(p.bias1 + n + v * S::lanes);
      if (i < count) spread<S>(p.source, begin + i, p.hidden, p.H, n, sum);
      for (int v = 0; v < 4; ++v)
        S::keep(first + i * p.H + n + v * S::lanes, gelu<S>(sum[v]), p.round);
    }
  layer<S>(first, p.H, filled, p.middle, p.bias2, p.H, false,
           [&](std::int64_t i, std::int64_t n, V x) {
             S::keep(second + i * p.H + n, gelu<S>(x), p.round);
           });
  V predicted[kBlockPixels<S>] = {};
  layer<S>(second, p.H, filled, p.triangle, p.column, p.K, true,
           [&](std::int64_t i, std::int64_t, V y) { predicted[i] += y * y; });
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t pixel = begin + i;
    V product[4] = {}, activation[4] = {}, matched[4] = {}, observed[4] = {};
    for (std::int64_t n = 0; n < p.H; n += 4 * S::lanes) {
      V sum[4] = {};
      spread<S>(p.target, pixel, p.matched, p.H, n, sum);
      for (int v = 0; v < 4; ++v) {
        const V h = S::read(second + i * p.H + n + v * S::lanes);
        product[v] += h * sum[v];
        activation[v] += h * h;
        matched[v] += sum[v] * sum[v];
      }
    }
    for (std::int64_t d = 0; d < p.D; d += 4 * S::lanes) {
      V sum[4] = {};
      spread<S>(p.target, pixel, p.observed, p.D, d, sum);
      for (int v = 0; v < 4; ++v) observed[v] += sum[v] * sum[v];
    }
    double shift = 0;
    for (std::int64_t e = p.target.start[pixel]; e < p.target.start[pixel + 1]; ++e)
      shift += double(p.target.weight[e]) * double(p.shift[p.target.index[e]]);
    MappingSums s{total<S>(predicted[i]) + double(p.constant), 0, shift, 0, 0};
    for (int v = 0; v < 4; ++v) {
      s.observed += total<S>(observed[v]);
      s.product += total<S>(product[v]);
      s.activation += total<S>(activation[v]);
      s.matched += total<S>(matched[v]);
    }
    out[i] = s;
  }
}

template <class S>
void block_differences(const MappingDiscrepancy& p, const std::int64_t* pixel,
                       const std::int64_t* row, std::int64_t count, const double (*length)[2],
                       float* rows, float* wide, double* out) {
  using V = typename S::V;
  using Element = typename S::Element;
  auto* chosen = reinterpret_cast<Element*>(rows);  // the first half is free now
  const auto* second = reinterpret_cast<const Element*>(rows + kBlockPixels<S> * p.H);
  const std::int64_t filled = (count + S::rows - 1) / S::rows * S::rows;
  float scale[kBlockPixels<S>] = {};
  for (std::int64_t i = 0; i < filled; ++i) {
    const std::int64_t from = row[i < count ? i : 0];
    __builtin_memcpy(chosen + i * p.H, second + from * p.H, p.H * sizeof(Element));
    if (i < count) scale[i] = float(length[i][0]);
    for (std::int64_t d = 0; d < p.D; d += 4 * S::lanes) {
      V sum[4] = {};
      if (i < count) spread<S>(p.target, pixel[i], p.observed, p.D, d, sum);
      const V shorter = S::same(i < count ? float(length[i][1]) : 0.0f);
      for (int v = 0; v < 4; ++v) S::store(wide + i * p.D + d + v * S::lanes, sum[v] * shorter);
    }
  }
  V sum[kBlockPixels<S>] = {};
  layer<S>(chosen, p.H, filled, p.output, p.bias3, p.D, false,
           [&](std::int64_t i, std::int64_t d, V f) {
             const V e = f * scale[i] - S::load(wide + i * p.D + d);
             sum[i] += e * e;
           });
  for (std::int64_t i = 0; i < count; ++i) out[i] = total<S>(sum[i]);
}

template <class S>
constexpr MappingBlocks kMappingBlocks{kBlockPixels<S>, block_sums<S>, block_differences<S>};

}  // namespace
}  // namespace cmad
