#include <cmath>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/mapping_discrepancy.h"
#include "ops/mapping_product.cuh"

// For each chunk of pixels, whose activations then stay in the L2 cache:
//
//   spread       interpolates W1 s, adds b1, GELU                        -> activations, float16
//   middle       product with W2, adds b2, GELU                          -> activations, float16
//   triangle     product with R without its zeros, sums of squares       -> a sum for each tile
//   compare      |f|, |e|, e.f, psi; puts what has lost its digits on a list
//   differences  product of the list's activations with W3, squares of differences
//   measured     psi of the list
//
// The activations are interpolated by a kernel of their own: in the product each of the eight
// blocks that share rows would interpolate them again, 6 rows of float32 for one of float16.

namespace cmad {
namespace {

constexpr unsigned kAll = 0xffffffffu;
constexpr int kLanes = 32, kRows = 8;         // compare: a warp has a pixel
constexpr int kGroup = 64 / 4, kPixels = 16;  // spread: 64 columns of 16 pixels
constexpr int kListed = 128;                  // measured
constexpr double kLimit = 0.1;                // of a distance that is kept: see `mapping_lost`

struct Sparse {
  Pointer<const I> start;
  Pointer<const std::int32_t> index;
  Pointer<const float> weight;
};

/// x times the normal distribution function of x, off by 3e-7 |x| at most: the fit of
/// mapping_block.h, with the GPU's fast division.
__device__ float gelu(float x) {
  float c = x > 5.6f ? 5.6f : x;
  c = c < -5.6f ? -5.6f : c;
  const float t = c * c;
  float p = 1.0774783e-10f;
  p = fmaf(p, t, -2.153029e-08f);
  p = fmaf(p, t, 3.1910577e-06f);
  p = fmaf(p, t, 0.00016973497f);
  p = fmaf(p, t, 0.0045106043f);
  p = fmaf(p, t, 0.035957348f);
  p = fmaf(p, t, 0.39894226f);
  float q = 6.169917e-05f;
  q = fmaf(q, t, 0.0018305777f);
  q = fmaf(q, t, 0.029108442f);
  q = fmaf(q, t, 0.25679743f);
  q = fmaf(q, t, 1.0f);
  const float phi = fmaf(c, __fdividef(p, q), 0.5f);
  return x * (phi < 0 ? 0 : phi);
}

/// A thread has four columns of a pixel. Pixels beside each other read the same rows: from L1.
template <int numbers>
__global__ void spread_kernel(Sparse s, Pointer<const Float4> map, Pointer<const Float4> bias,
                              Pointer<Packed<2>> out, Pointer<std::int32_t> again, I count, I H,
                              I second) {
  const I i = I(blockIdx.x) * kPixels + threadIdx.y, d = I(blockIdx.y) * kGroup + threadIdx.x;
  if (i == 0 && d == 0) again[0] = 0;
  if (i >= count) return;
  Float4 sum = bias[d];
  for (I e = s.start[i]; e < s.start[i + 1]; ++e) {
    const float weight = s.weight[e];
    const Float4 row = map[s.index[e] * (H / 4) + d];
    for (int v = 0; v < 4; ++v) sum.v[v] = fmaf(weight, row.v[v], sum.v[v]);
  }
  for (int v = 0; v < 4; ++v) sum.v[v] = gelu(sum.v[v]);
  keep<numbers>(out, i * (H / 4) + d, second / 4, sum.v);
}

struct Tile {
  I row = I(blockIdx.x) * kTile;
  int column = int(blockIdx.y) * kTile;
  /// Of `count` those from the tile's first on.
  __device__ int rows(I count) const { return int(count - row < kTile ? count - row : kTile); }
};

/// Of the eight columns that a thread has; none where the tile has no such columns.
struct Eight {
  float v[8] = {};
  __device__ Eight(Pointer<const float> of, const Operands& p, const Tile& tile, const Part& part) {
    const I n = tile.column + part.column();
    for (int i = 0; n < p.N && i < 8; ++i) v[i] = of[n + i];
  }
};

template <int numbers>
__global__ void __launch_bounds__(kProductThreads, 2)
    middle_kernel(Operands p, Pointer<const float> bias, float unit, Pointer<Packed<4>> out,
                  I count) {
  const Tile tile;
  const int rows = tile.rows(count), columns = int(p.N) - tile.column;
  Part part;
  multiply<numbers>(p, [&](int i) { return tile.row + i; }, rows, tile.column, 0, part);
  if (part.column() >= columns) return;
  const int n = tile.column + part.column();
  const Eight shift(bias, p, tile, part);
  for (int r = 0; r < 8; ++r) {
    if (part.row(r) >= rows) break;
    float y[8];
    part.eight(r, y);
    for (int i = 0; i < 8; ++i) y[i] = gelu(fmaf(y[i], unit, shift.v[i]));
    keep<numbers>(out, ((tile.row + part.row(r)) * p.N + n) / 8, p.a_second / 8, y);
  }
}

/// Row n of R is zero before its entry n.
template <int numbers>
__global__ void __launch_bounds__(kProductThreads, 2)
    triangle_kernel(Operands p, Pointer<const float> column, float unit, Pointer<float> sums,
                    I count, I chunk) {
  const Tile tile;
  const int rows = tile.rows(count);
  Part part;
  multiply<numbers>(p, [&](int i) { return tile.row + i; }, rows, tile.column, tile.column, part);
  const Eight shift(column, p, tile, part);
  const auto squares = [&](int, const float (&eight)[8]) {
    float sum = 0;
    for (int i = 0; i < 8; ++i) {
      const float y = fmaf(eight[i], unit, shift.v[i]);
      sum = fmaf(y, y, sum);
    }
    return sum;
  };
  add_rows(part, rows, int(p.N) - tile.column, squares, sums + (blockIdx.y * chunk + tile.row));
}

/// Of the lanes of a warp; each gets the same bits.
__device__ double total(double sum) {
  for (int lane = kLanes / 2; lane > 0; lane /= 2) sum += __shfl_xor_sync(kAll, sum, lane);
  return sum;
}

/// As rows are divided by it; NaN stays NaN.
__device__ double length(double squares) {
  const double root = std::sqrt(squares);
  return root < 1e-12 ? 1e-12 : root;
}
__device__ float root(double squares) {
  const double psi = std::sqrt(squares < 0 ? 0 : squares);
  return float(psi > 2 ? 2 : psi);
}

struct Targets {
  Sparse weights;
  Pointer<const Float2> matched;   // [Mt][H / 2]
  Pointer<const float> shift;      // [Mt]
  Pointer<const Float2> observed;  // [Mt][D / 2]
};

/// Two columns of a map at a pixel.
__device__ Float2 spread(const Sparse& s, I i, Pointer<const Float2> map, I stride, I d) {
  Float2 sum = {};
  for (I e = s.start[i]; e < s.start[i + 1]; ++e) {
    const float weight = s.weight[e];
    const Float2 row = map[s.index[e] * stride + d];
    for (int v = 0; v < 2; ++v) sum.v[v] = fmaf(weight, row.v[v], sum.v[v]);
  }
  return sum;
}

/// A warp has a pixel, a lane every 32nd pair of columns.
template <int numbers>
__global__ void compare_kernel(Targets target, Pointer<const __half2> activations, I second,
                               Pointer<const float> sums, double constant, Pointer<float> psi,
                               Pointer<std::int32_t> again, Pointer<Float2> lengths, I count,
                               I chunk, I H, I D, int tiles) {
  const I i = I(blockIdx.x) * kRows + threadIdx.y;
  if (i >= count) return;  // a whole warp
  const int lane = int(threadIdx.x);
  float product = 0, activation = 0, matched = 0, observed = 0;
  for (I d = lane; d < H / 2; d += kLanes) {
    const Float2 e = spread(target.weights, i, target.matched, H / 2, d);
    const __half2 high = activations[i * (H / 2) + d];
    Float2 h = {{__low2float(high), __high2float(high)}};
    if (numbers == 2) {
      const __half2 low = activations[i * (H / 2) + d + second / 2];
      h.v[0] += __low2float(low);
      h.v[1] += __high2float(low);
    }
    for (int v = 0; v < 2; ++v) {
      product = fmaf(h.v[v], e.v[v], product);
      activation = fmaf(h.v[v], h.v[v], activation);
      matched = fmaf(e.v[v], e.v[v], matched);
    }
  }
  for (I d = lane; d < D / 2; d += kLanes) {
    const Float2 e = spread(target.weights, i, target.observed, D / 2, d);
    for (int v = 0; v < 2; ++v) observed = fmaf(e.v[v], e.v[v], observed);
  }
  const Sparse& s = target.weights;
  double shift = 0, predicted = 0;
  for (I e = s.start[i] + lane; e < s.start[i + 1]; e += kLanes) {
    const float weight = s.weight[e], of_row = target.shift[s.index[e]];
    shift += double(weight) * double(of_row);
  }
  for (int tile = lane; tile < tiles; tile += kLanes) predicted += double(sums[tile * chunk + i]);
  const double ef = total(product + shift), ff = total(predicted) + constant;
  const double ee = total(observed), terms = total(activation) * total(matched);
  if (lane > 0) return;
  const double sf = 1 / length(ff), se = 1 / length(ee), scale = sf * se;
  const double d2 = ff * sf * sf + ee * se * se - 2 * ef * scale;
  psi[i] = root(d2);
  if (!mapping_lost(kLimit, terms * scale * scale, d2)) return;
  const std::int32_t place = atomicAdd(again, 1);
  again[1 + place] = std::int32_t(i);
  lengths[place] = {{float(sf), float(se)}};
}

/// Blocks beyond the list's end have nothing to do.
template <int numbers>
__global__ void __launch_bounds__(kProductThreads, 2)
    differences_kernel(Operands p, Pointer<const float> bias, float unit, Sparse target,
                       Pointer<const Float4> observed, Pointer<const Float2> lengths,
                       Pointer<const std::int32_t> again, Pointer<float> sums, I chunk) {
  const Tile tile;
  const std::int32_t listed = again[0];
  if (tile.row >= listed) return;
  const int rows = tile.rows(listed);
  const auto pixel = [&](int i) -> I { return again[1 + tile.row + i]; };
  Part part;
  multiply<numbers>(p, pixel, rows, tile.column, 0, part);
  const Eight shift(bias, p, tile, part);
  const I d = tile.column + part.column();
  const auto squares = [&](int row, const float (&eight)[8]) {
    const I i = pixel(row);
    float e[8] = {}, sum = 0;
    for (I entry = target.start[i]; entry < target.start[i + 1]; ++entry) {
      const float weight = target.weight[entry];
      const I at = (target.index[entry] * p.N + d) / 4;
      const Float4 four[2] = {observed[at], observed[at + 1]};
      for (int v = 0; v < 8; ++v) e[v] = fmaf(weight, four[v / 4].v[v % 4], e[v]);
    }
    const Float2 scale = lengths[tile.row + row];
    for (int v = 0; v < 8; ++v) {
      const float f = fmaf(eight[v], unit, shift.v[v]);
      const float off = f * scale.v[0] - e[v] * scale.v[1];
      sum = fmaf(off, off, sum);
    }
    return sum;
  };
  add_rows(part, rows, int(p.N) - tile.column, squares, sums + (blockIdx.y * chunk + tile.row));
}

__global__ void measured_kernel(Pointer<const std::int32_t> again, Pointer<const float> sums,
                                Pointer<float> psi, I chunk, int tiles) {
  const I i = I(blockIdx.x) * kListed + threadIdx.x;
  const std::int32_t listed = again[0];
  if (i >= listed) return;
  double squares = 0;
  for (int tile = 0; tile < tiles; ++tile) squares += double(sums[tile * chunk + i]);
  const std::int32_t pixel = again[1 + i];
  psi[pixel] = root(squares);
}

template <class To>
const To* as(const void* from) {
  return static_cast<const To*>(from);
}

/// Pixels [begin, begin + count).
template <int numbers>
void measure(const MappingDiscrepancy& p, I begin, I count, void* stream) {
  const I layer = numbers * p.chunk * p.H, second = p.chunk * p.H;
  auto* first = static_cast<__half*>(p.activations);
  auto* hidden = first + layer;
  const auto tiles = [](I n) { return unsigned(pieces(n, kTile)); };
  const Sparse source{p.source.start + begin, p.source.index, p.source.weight};
  const Sparse target{p.target.start + begin, p.target.index, p.target.weight};
  const Targets targets{target, as<Float2>(p.matched), p.shift, as<Float2>(p.observed)};
  const Operands middle{first, second, as<__half>(p.middle), p.H, p.H};
  const Operands triangle{hidden, second, as<__half>(p.triangle), p.K, p.H};
  const Operands output{hidden, second, as<__half>(p.output), p.D, p.H};
  float* psi = p.psi + begin;
  const dim3 pixels(unsigned(pieces(count, kPixels)), unsigned(p.H / 64));

  launch("mapping_discrepancy: spread_kernel", spread_kernel<numbers>, pixels,
         dim3(kGroup, kPixels), 0, stream, source, as<Float4>(p.hidden), as<Float4>(p.bias1),
         static_cast<Packed<2>*>(p.activations), p.again, count, p.H, second);
  launch("mapping_discrepancy: middle_kernel", middle_kernel<numbers>,
         dim3(tiles(count), tiles(p.H)), kProductThreads, kProductBytes, stream, middle, p.bias2,
         p.unit[0], static_cast<Packed<4>*>(static_cast<void*>(hidden)), count);
  launch("mapping_discrepancy: triangle_kernel", triangle_kernel<numbers>,
         dim3(tiles(count), tiles(p.K)), kProductThreads, kProductBytes, stream, triangle, p.column,
         p.unit[1], p.sums, count, p.chunk);
  launch("mapping_discrepancy: compare_kernel", compare_kernel<numbers>,
         unsigned(pieces(count, kRows)), dim3(kLanes, kRows), 0, stream, targets,
         as<__half2>(hidden), second, p.sums, double(p.constant), psi, p.again,
         static_cast<Float2*>(static_cast<void*>(p.lengths)), count, p.chunk, p.H, p.D,
         int(tiles(p.K)));
  launch("mapping_discrepancy: differences_kernel", differences_kernel<numbers>,
         dim3(tiles(count), tiles(p.D)), kProductThreads, kProductBytes, stream, output, p.bias3,
         p.unit[2], target, as<Float4>(p.observed), as<Float2>(p.lengths), p.again, p.sums,
         p.chunk);
  launch("mapping_discrepancy: measured_kernel", measured_kernel, unsigned(pieces(count, kListed)),
         kListed, 0, stream, p.again, p.sums, psi, p.chunk, int(tiles(p.D)));
}

}  // namespace

template <>
MappingLayout mapping_layout<Cuda>(MappingPath path, MappingPrecision precision) {
  const bool split = precision == MappingPrecision::fp32;
  const auto taken = split ? MappingPath::mma_split : MappingPath::mma;
  const bool there = path == MappingPath::best || path == taken;
  return {there ? int(taken) : 0, 0, split ? MappingNumber::two_float16 : MappingNumber::float16};
}

template <>
void mapping_discrepancy<Cuda>(const MappingDiscrepancy& p, void* stream) {
  const bool split = p.path == int(MappingPath::mma_split);
  for (I begin = 0; begin < p.P; begin += p.chunk) {
    const I count = p.P - begin < p.chunk ? p.P - begin : p.chunk;
    split ? measure<2>(p, begin, count, stream) : measure<1>(p, begin, count, stream);
  }
}

}  // namespace cmad
