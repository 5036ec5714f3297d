#include <cstdint>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/pixel_weights.h"

// A warp has an output pixel. Its lanes look up the entries that are to be merged, 32 at a time,
// and tell each other in their order; a lane keeps 32 centres that follow each other: bits of those
// that have an entry and, in shared memory, the sums of their weights. Of more than 1024 centres
// the lowest are taken first, and then again the lowest behind them.

namespace cmad {
namespace {

constexpr int kLanes = 32;
constexpr int kWarps = 4;                 // of a block
constexpr int kWindow = kLanes * kLanes;  // centres looked for at once
constexpr int kScan = 1024;               // threads that add up counts
constexpr unsigned kAll = 0xffffffffu;
constexpr unsigned kNone = 0xffffffffu;  // above every centre

/// The arrays and sizes of PixelWeights, as kernels take them.
struct Inputs {
  Pointer<const std::int64_t> neighbour;
  Pointer<const float> neighbour_weight;
  Pointer<const std::int64_t> point;
  Pointer<const std::int64_t> first;
  Pointer<const float> tap;
  Pointer<const std::int64_t> pixel;
  std::int64_t J, S, R, T, P;

  explicit Inputs(const PixelWeights& p)
      : neighbour(p.neighbour),
        neighbour_weight(p.neighbour_weight),
        point(p.point),
        first(p.first),
        tap(p.tap),
        pixel(p.pixel),
        J(p.J),
        S(p.S),
        R(p.R),
        T(p.T),
        P(p.P) {}
};

/// One of the entries that are merged: a centre and what is added to its weight.
struct Entry {
  unsigned centre = kNone;
  double weight = 0;
};

/// What an output pixel reads.
struct Footprint {
  std::int64_t row, column, top, left;

  __device__ Footprint(const Inputs& in, std::int64_t pixel)
      : row(pixel / in.R), column(pixel % in.R), top(in.first[row]), left(in.first[column]) {}

  /// The n-th entry, of no centre where it is none.
  __device__ Entry entry(const Inputs& in, unsigned n) const {
    const unsigned J = unsigned(in.J), T = unsigned(in.T);
    const std::int64_t k = n % J, j = n / J % T, i = n / J / T;
    const std::int64_t y = top + i, x = left + j;
    if (i >= in.T || y < 0 || y >= in.S || x < 0 || x >= in.S) return {};
    const double both = double(in.tap[row * in.T + i]) * double(in.tap[column * in.T + j]);
    const std::int64_t point = in.point[y * in.S + x];
    if (both == 0 || point < 0) return {};
    const float weight = in.neighbour_weight[point * in.J + k];
    if (weight == 0) return {};
    // Three float32: no underflow in float64.
    return {unsigned(in.neighbour[point * in.J + k]), both * double(weight)};
  }
};

/// Of the kWindow centres from `from` on, those that a lane keeps.
struct Window {
  unsigned first;         // the lane's centres are 32 from here on
  unsigned bits = 0;      // which of them have an entry
  unsigned next = kNone;  // of all lanes: the lowest centre behind the window that has one
};

/// Goes through a pixel's entries; puts the sums of their weights into `sum` [kWindow], unless they
/// are only to be counted.
template <bool count_only>
__device__ Window window(const Inputs& in, const Footprint& footprint, unsigned from,
                         Pointer<double> sum) {
  const int lane = int(threadIdx.x);
  const unsigned entries = unsigned(in.T * in.T * in.J);
  Window found;
  found.first = from + unsigned(lane) * kLanes;
  for (unsigned begin = 0; begin < entries; begin += kLanes) {
    const Entry mine = footprint.entry(in, begin + unsigned(lane));
    const bool ahead = mine.centre != kNone && mine.centre >= from;
    const bool within = ahead && mine.centre - from < kWindow;
    if (ahead && !within && mine.centre < found.next) found.next = mine.centre;
    for (unsigned left = __ballot_sync(kAll, within); left != 0; left &= left - 1) {
      const int of = __ffs(int(left)) - 1;
      const unsigned centre = __shfl_sync(kAll, mine.centre, of) - from;
      const double weight = count_only ? 0 : __shfl_sync(kAll, mine.weight, of);
      if (int(centre / kLanes) != lane) continue;
      const unsigned bit = 1u << centre % kLanes;
      if (!count_only) {
        const double before = (found.bits & bit) == 0 ? 0 : double(sum[centre]);
        sum[centre] = before + weight;
      }
      found.bits |= bit;
    }
  }
  found.next = __reduce_min_sync(kAll, found.next);
  return found;
}

/// start[o + 1] = how many centres output pixel o has.
__global__ void count_kernel(Inputs in, Pointer<std::int64_t> start) {
  const std::int64_t o = std::int64_t(blockIdx.x) * kWarps + threadIdx.y;
  if (o >= in.P) return;  // a whole warp
  const Footprint footprint(in, in.pixel[o]);
  unsigned count = 0;
  for (unsigned from = 0; from != kNone;) {
    const Window found = window<true>(in, footprint, from, Pointer<double>(nullptr));
    count += unsigned(__popc(found.bits));
    from = found.next;
  }
  count = __reduce_add_sync(kAll, count);
  if (threadIdx.x == 0) start[o + 1] = count;
}

/// The sum over a warp's lanes up to each.
__device__ std::int64_t up_to(std::int64_t x) {
  for (int i = 1; i < kLanes; i *= 2) {
    const std::int64_t lower = __shfl_up_sync(kAll, x, unsigned(i));
    if (int(threadIdx.x) % kLanes >= i) x += lower;
  }
  return x;
}

/// Adds up the counts; one block.
__global__ void __launch_bounds__(kScan) scan_kernel(Pointer<std::int64_t> start, std::int64_t P) {
  __shared__ Shared<std::int64_t[2][kLanes]> of_warp;
  const int t = int(threadIdx.x), lane = t % kLanes, warp = t / kLanes;
  if (t == 0) start[0] = 0;
  std::int64_t before = 0;
  int turn = 0;  // who still reads what was written the turn before
  for (std::int64_t begin = 0; begin < P; begin += kScan, turn = 1 - turn) {
    const std::int64_t o = begin + t;
    const std::int64_t sum = up_to(o < P ? std::int64_t(start[o + 1]) : 0);
    if (lane == kLanes - 1) of_warp[turn][warp] = sum;
    __syncthreads();
    const std::int64_t all = up_to(of_warp[turn][lane]);
    const std::int64_t lower = __shfl_sync(kAll, all, warp == 0 ? 0 : warp - 1);
    if (o < P) start[o + 1] = before + sum + (warp == 0 ? 0 : lower);
    before += __shfl_sync(kAll, all, kLanes - 1);
  }
}

__global__ void pixel_weights_kernel(Inputs in, Pointer<const std::int64_t> start,
                                     Pointer<std::int32_t> index, Pointer<float> weight) {
  __shared__ Shared<double[kWarps * kWindow]> sums;
  const std::int64_t o = std::int64_t(blockIdx.x) * kWarps + threadIdx.y;
  if (o >= in.P) return;
  const Footprint footprint(in, in.pixel[o]);
  const Pointer<double> sum = sums + int(threadIdx.y) * kWindow;
  std::int64_t end = start[o];  // of the entries that are written
  for (unsigned from = 0; from != kNone;) {
    const Window found = window<false>(in, footprint, from, sum);
    const std::int64_t up_to_here = up_to(__popc(found.bits));
    std::int64_t at = end + up_to_here - __popc(found.bits);
    for (unsigned left = found.bits; left != 0; left &= left - 1, ++at) {
      const unsigned centre = found.first + unsigned(__ffs(int(left)) - 1);
      index[at] = std::int32_t(centre);
      weight[at] = float(double(sum[centre - from]));  // a lane reads its own sums
    }
    end += __shfl_sync(kAll, up_to_here, kLanes - 1);
    from = found.next;
  }
}

}  // namespace

template <>
void pixel_weights_start<Cuda>(const PixelWeights& p, std::int64_t* start, void* stream) {
  if (p.P > 0)
    launch("pixel_weights: count_kernel", count_kernel, unsigned(pieces(p.P, kWarps)),
           dim3(kLanes, kWarps), 0, stream, p, start);
  launch("pixel_weights: scan_kernel", scan_kernel, 1u, kScan, 0, stream, start, p.P);
}

template <>
void pixel_weights<Cuda>(const PixelWeights& p, const std::int64_t* start, std::int32_t* index,
                         float* weight, void* stream) {
  if (p.P == 0) return;
  launch("pixel_weights_kernel", pixel_weights_kernel, unsigned(pieces(p.P, kWarps)),
         dim3(kLanes, kWarps), 0, stream, p, start, index, weight);
}

}  // namespace cmad
