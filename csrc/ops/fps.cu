#include <cstdint>
#include <cstring>
#include <limits>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/fps.h"
#include "ops/fps_order.h"

// A block has a cloud and sorts its points by the cells of a grid, so that runs of them, the tiles,
// lie together. A thread keeps one tile's box and farthest point in registers. A pick changes only
// tiles whose box is nearer to it than their farthest point, soon some ten of a thousand: the lanes
// of a warp look together at those of its tiles that are, two tiles at a time, as what takes long
// is to wait for memory. Each warp then tells the others its farthest point, in shared memory:
// there is one barrier for a pick. Rounding keeps the order, so no bound needs a margin, and the
// picks are those of brute force.

namespace cmad {
namespace {

constexpr int kLanes = 32;
constexpr int kMostThreads = 1024;
constexpr unsigned kAll = 0xffffffffu;
constexpr int kSide = 64, kCells = kSide * kSide;  // of the grid
constexpr int kTogether = 2;                       // tiles that a warp looks at
constexpr float kFar = std::numeric_limits<float>::infinity();
constexpr float kSkipped = -1;  // below every distance
constexpr unsigned kUnknown = std::numeric_limits<std::int32_t>::max();

__device__ int bits_of(float x) {
  int bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
__device__ float float_of(int bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// A number's bits so that they order as the numbers, and back; itself for what is not negative.
__device__ int flipped(int bits) { return bits < 0 ? bits ^ 0x7fffffff : bits; }

/// Of the lanes of a warp.
__device__ float least(float x) {
  return float_of(flipped(__reduce_min_sync(kAll, flipped(bits_of(x)))));
}

/// Of all threads of a block, for each of three numbers. `line` is [3 * kLanes].
__device__ void add_up(float (&sum)[3], Pointer<float> line) {
  const int lane = int(threadIdx.x) % kLanes, warp = int(threadIdx.x) / kLanes;
  __syncthreads();  // who still reads the line
  for (int k = 0; k < 3; ++k) {
    for (int i = kLanes / 2; i > 0; i /= 2) sum[k] += __shfl_xor_sync(kAll, sum[k], i);
    if (lane == 0) line[k * kLanes + warp] = sum[k];
  }
  __syncthreads();
  const int warps = int(blockDim.x) / kLanes;
  for (int k = 0; k < 3; ++k) {
    sum[k] = lane < warps ? float(line[k * kLanes + lane]) : 0;
    for (int i = kLanes / 2; i > 0; i /= 2) sum[k] += __shfl_xor_sync(kAll, sum[k], i);
  }
}

/// Cells along the two axes in which a cloud is widest, so wide that most points lie in the grid;
/// those outside, however far, count to the cells at its edge.
struct Grid {
  int axis[2];
  float lo[2], per_metre;

  __device__ Grid(Pointer<const float> xyz, std::int64_t N, Pointer<float> line) {
    float mean[3] = {},
          spread[3] = {};  // mean distance from the mean: few far points change little
    for (std::int64_t n = threadIdx.x; n < N; n += blockDim.x)
      for (int k = 0; k < 3; ++k) mean[k] += xyz[3 * n + k];
    add_up(mean, line);
    for (float& m : mean) m /= float(N);
    for (std::int64_t n = threadIdx.x; n < N; n += blockDim.x)
      for (int k = 0; k < 3; ++k) {
        const float x = xyz[3 * n + k];
        spread[k] += x < mean[k] ? mean[k] - x : x - mean[k];
      }
    add_up(spread, line);
    axis[0] = spread[1] > spread[0];
    axis[0] = spread[2] > spread[axis[0]] ? 2 : axis[0];
    axis[1] = axis[0] == 0;
    const int other = 3 - axis[0] - axis[1];
    axis[1] = spread[other] > spread[axis[1]] ? other : axis[1];
    const float half = 3 * spread[axis[0]] / float(N);  // a disc has 2.4 of them
    per_metre = kSide / 2 / half;
    for (int i = 0; i < 2; ++i) lo[i] = mean[axis[i]] - half;
  }

  /// Cells that follow each other are mostly neighbours. Any is right: NaN is in the first.
  __device__ int cell(const float (&point)[3]) const {
    int at[2];
    for (int i = 0; i < 2; ++i) {
      const float x = (point[axis[i]] - lo[i]) * per_metre;
      at[i] = x > 0 ? (x < kSide ? int(x) : kSide - 1) : 0;
      at[i] = (at[i] | at[i] << 4) & 0x0f0f;
      at[i] = (at[i] | at[i] << 2) & 0x3333;
      at[i] = (at[i] | at[i] << 1) & 0x5555;
    }
    return at[0] << 1 | at[1];
  }
};

/// Turns counts into where each cell begins.
__device__ void begin_cells(Pointer<unsigned> cell, Pointer<float> line) {
  const int t = int(threadIdx.x), lane = t % kLanes, warp = t / kLanes;
  const int each = int(pieces(kCells, blockDim.x)), from = t * each;
  const int to = from + each < kCells ? from + each : kCells;
  unsigned mine = 0;
  for (int c = from; c < to; ++c) mine += cell[c];
  unsigned before = mine;
  for (int i = 1; i < kLanes; i *= 2) {
    const unsigned lower = __shfl_up_sync(kAll, before, unsigned(i));
    if (lane >= i) before += lower;
  }
  __syncthreads();
  if (lane == kLanes - 1) line[warp] = float_of(int(before));
  __syncthreads();
  const unsigned of_warp = lane < warp ? unsigned(bits_of(line[lane])) : 0;
  before += __reduce_add_sync(kAll, of_warp) - mine;
  for (int c = from; c < to; ++c) {
    const unsigned count = cell[c];
    cell[c] = before;
    before += count;
  }
}

/// A cloud's points, sorted.
struct Sorted {
  Pointer<float> x, y, z;
  Pointer<float> nearest;  // squared distance to the nearest pick, or kSkipped
  Pointer<std::int32_t> rank;
  std::int64_t N;
};

/// Ends with a barrier.
__device__ void sort(Pointer<const float> xyz, const Sorted& sorted, const FpsOrder& order,
                     double skip, Pointer<float> line) {
  __shared__ Shared<unsigned[kCells]> cell;
  for (int c = int(threadIdx.x); c < kCells; c += blockDim.x) cell[c] = 0;
  const Grid grid(xyz, sorted.N, line);
  for (int pass = 0; pass < 2; ++pass) {
    __syncthreads();
    for (std::int64_t n = threadIdx.x; n < sorted.N; n += blockDim.x) {
      const float at[3] = {xyz[3 * n], xyz[3 * n + 1], xyz[3 * n + 2]};
      const std::int64_t place = atomicAdd(&cell[grid.cell(at)], 1u);
      if (pass == 0) continue;  // counts only
      sorted.x[place] = at[0];
      sorted.y[place] = at[1];
      sorted.z[place] = at[2];
      sorted.rank[place] = order.rank(n);
      const bool skipped =
          skip >= 0 && double((at[0] * at[0] + at[1] * at[1]) + at[2] * at[2]) <= skip;
      sorted.nearest[place] = skipped ? kSkipped : kFar;
    }
    __syncthreads();
    if (pass == 0) begin_cells(cell, line);
  }
}

/// Which point is farthest from the picks, of those seen; at first none.
struct Farthest {
  int distance = std::numeric_limits<int>::min();  // bits
  unsigned rank = kUnknown;
  float at[3] = {};

  __device__ void see(const Farthest& other) {
    if (other.distance < distance || (other.distance == distance && other.rank > rank)) return;
    *this = other;
  }
};

/// Of what the lanes of a warp have seen; each gets it.
__device__ Farthest farthest(const Farthest& mine) {
  Farthest all;
  all.distance = __reduce_max_sync(kAll, mine.distance);
  const bool equal = mine.distance == all.distance;
  all.rank = __reduce_min_sync(kAll, equal ? mine.rank : kUnknown);
  const int lane = __ffs(int(__ballot_sync(kAll, equal && mine.rank == all.rank))) - 1;
  for (int k = 0; k < 3; ++k) all.at[k] = __shfl_sync(kAll, mine.at[k], lane);
  return all;
}

/// Of what the warps of a block have seen; each thread gets it. One barrier: what is read after it
/// in one `turn` is written again before that of the next but one.
__device__ Farthest farthest_of_block(const Farthest& of_warp, int turn) {
  __shared__ Shared<int[2][kLanes]> distance;
  __shared__ Shared<unsigned[2][kLanes]> rank;
  __shared__ Shared<float[2][3 * kLanes]> at;
  const int lane = int(threadIdx.x) % kLanes, warp = int(threadIdx.x) / kLanes;
  if (lane == 0) {
    distance[turn][warp] = of_warp.distance;
    rank[turn][warp] = of_warp.rank;
    for (int k = 0; k < 3; ++k) at[turn][3 * warp + k] = of_warp.at[k];
  }
  __syncthreads();
  Farthest mine;
  if (lane < int(blockDim.x) / kLanes) {
    mine.distance = distance[turn][lane];
    mine.rank = rank[turn][lane];
    for (int k = 0; k < 3; ++k) mine.at[k] = at[turn][3 * lane + k];
  }
  return farthest(mine);
}

/// The tiles of a warp: lane l has every `warps`th, so that neighbours are of several warps.
struct Tiles {
  std::int64_t each;  // points of a tile; few enough that no lane has two tiles
  int lane, warp, warps;

  __device__ explicit Tiles(std::int64_t N)
      : each(kLanes * pieces(N, std::int64_t(kLanes) * blockDim.x)),
        lane(int(threadIdx.x) % kLanes),
        warp(int(threadIdx.x) / kLanes),
        warps(int(blockDim.x) / kLanes) {}
  __device__ std::int64_t begin(int of_lane) const {
    return (std::int64_t(of_lane) * warps + warp) * each;
  }
};

/// Makes the distances of the points of some lanes' tiles at most those to `here`, by all lanes of
/// a warp; each gets the farthest point of each tile. A lane of -1 has no points.
__device__ void lower(const Sorted& sorted, const Tiles& tiles, const int (&lanes)[kTogether],
                      const float (&here)[3], Farthest (&far)[kTogether]) {
  for (std::int64_t i = tiles.lane; i < tiles.each; i += kLanes) {
    Farthest point[kTogether];
    float before[kTogether];
    bool is_point[kTogether];
    for (int u = 0; u < kTogether; ++u) {  // all loads first
      const std::int64_t n = tiles.begin(lanes[u]) + i;
      is_point[u] = lanes[u] >= 0 && n < sorted.N;
      if (!is_point[u]) continue;
      point[u].at[0] = sorted.x[n];
      point[u].at[1] = sorted.y[n];
      point[u].at[2] = sorted.z[n];
      point[u].rank = unsigned(sorted.rank[n]);
      before[u] = sorted.nearest[n];
    }
    for (int u = 0; u < kTogether; ++u) {
      if (!is_point[u]) continue;
      const float d2 = dist2(point[u].at, here);
      point[u].distance = bits_of(d2 < before[u] ? d2 : before[u]);
      if (d2 < before[u]) sorted.nearest[tiles.begin(lanes[u]) + i] = d2;
      far[u].see(point[u]);
    }
  }
  for (Farthest& f : far) f = farthest(f);
}

/// The box of a lane's tile, by all lanes of a warp.
__device__ Box box_of(const Sorted& sorted, const Tiles& tiles, int of_lane) {
  Box box = {{kFar, kFar, kFar}, {-kFar, -kFar, -kFar}};
  for (std::int64_t i = tiles.lane; i < tiles.each; i += kLanes) {
    const std::int64_t n = tiles.begin(of_lane) + i;
    if (n >= sorted.N) continue;
    const float at[3] = {sorted.x[n], sorted.y[n], sorted.z[n]};
    for (int k = 0; k < 3; ++k) {
      box.lo[k] = at[k] < box.lo[k] ? at[k] : box.lo[k];
      box.hi[k] = at[k] > box.hi[k] ? at[k] : box.hi[k];
    }
  }
  for (int k = 0; k < 3; ++k) {
    box.lo[k] = least(box.lo[k]);
    box.hi[k] = -least(-box.hi[k]);
  }
  return box;
}

__global__ void __launch_bounds__(kMostThreads)
    fps_kernel(Pointer<const float> xyz, Pointer<const std::int64_t> ptr, Pointer<float> moved,
               Pointer<std::int32_t> rank, Pointer<std::int64_t> index, std::int64_t N,
               std::int64_t K, bool published_ties, double skip) {
  __shared__ Shared<float[3 * kLanes]> line;
  const std::int64_t first = ptr[blockIdx.x], count = ptr[blockIdx.x + 1] - first;
  const FpsOrder order(count, published_ties);
  const Sorted sorted{moved + first,         moved + N + first, moved + 2 * N + first,
                      moved + 3 * N + first, rank + first,      count};
  sort(xyz + 3 * first, sorted, order, skip, line);

  const Tiles tiles(count);
  float here[3];
  for (int k = 0; k < 3; ++k) here[k] = xyz[3 * first + k];
  Box box = {};
  Farthest mine;
  for (int l = 0; l < kLanes && tiles.begin(l) < count; ++l) {
    const Box found = box_of(sorted, tiles, l);
    Farthest far[kTogether];
    lower(sorted, tiles, {l, -1}, here, far);
    if (tiles.lane != l) continue;
    box = found;
    mine = far[0];
  }
  Pointer<std::int64_t> picks = index + blockIdx.x * K;
  if (threadIdx.x == 0) picks[0] = 0;
  for (std::int64_t k = 1; k < K; ++k) {
    const Farthest pick = farthest_of_block(farthest(mine), int(k % 2));
    if (threadIdx.x == 0)  // where all are skipped, point 0 again
      picks[k] = pick.distance < 0 ? order.rank(0) : std::int64_t(pick.rank);
    const Box at = {{pick.at[0], pick.at[1], pick.at[2]}, {pick.at[0], pick.at[1], pick.at[2]}};
    const bool near = mine.distance >= 0 && gap2(box, at) < float_of(mine.distance);
    for (unsigned left = __ballot_sync(kAll, near); left != 0;) {
      int lanes[kTogether];
      for (int& l : lanes) {
        l = __ffs(int(left)) - 1;
        left &= left - 1;
      }
      Farthest far[kTogether];
      lower(sorted, tiles, lanes, pick.at, far);
      for (int u = 0; u < kTogether; ++u)
        if (tiles.lane == lanes[u]) mine = far[u];
    }
  }
  __syncthreads();
  for (std::int64_t k = threadIdx.x; k < K; k += blockDim.x) picks[k] = order.point(picks[k]);
}

}  // namespace

template <>
void fps<Cuda>(const Fps& p, void* stream) {
  if (p.B == 0) return;
  // As many warps as give each some tiles; the sizes of the clouds are not read on the host.
  std::int64_t threads = kLanes * pieces(p.N, 16 * kLanes);
  if (threads > kMostThreads) threads = kMostThreads;
  launch("fps", fps_kernel, unsigned(p.B), unsigned(threads), 0, stream, p.xyz, p.ptr, p.moved,
         p.rank, p.index, p.N, p.K, p.published_ties, p.skip);
}

}  // namespace cmad
