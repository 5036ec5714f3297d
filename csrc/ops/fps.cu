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
constexpr int kMostWarps = 16;  // more of them wait longer for each other
constexpr unsigned kAll = 0xffffffffu;
constexpr int kSide = 64, kCells = kSide * kSide;  // of the grid
constexpr int kTogether = 2;                       // tiles that a warp looks at
constexpr int kEach = kFpsRun / kLanes;            // points of a run for a lane
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
    const int thin =
        spread[0] < spread[1] ? (spread[0] < spread[2] ? 0 : 2) : (spread[1] < spread[2] ? 1 : 2);
    axis[0] = thin == 0 ? 1 : 0;
    axis[1] = thin == 2 ? 1 : 2;
    const float a = along(axis[0], spread), b = along(axis[1], spread);
    const float half = 3 * (a > b ? a : b) / float(N);  // a disc has 2.4 of them
    per_metre = kSide / 2 / half;
    for (int i = 0; i < 2; ++i) lo[i] = along(axis[i], mean) - half;
  }

  /// Without an index, which registers do not have.
  __device__ static float along(int k, const float (&x)[3]) {
    return k == 0 ? x[0] : k == 1 ? x[1] : x[2];
  }

  /// Cells that follow each other are mostly neighbours. Any is right: NaN is in the first.
  __device__ int cell(const float (&point)[3]) const {
    int at[2];
    for (int i = 0; i < 2; ++i) {
      const float x = (along(axis[i], point) - lo[i]) * per_metre;
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

/// A cloud's points, sorted, in runs of kFpsRun: of each run the bits of its points' x, then of all
/// y, z, squared distances to the nearest pick, and ranks. What is left over of the last run counts
/// as skipped.
struct Runs {
  enum Value { kX, kY, kZ, kNearest, kRank };

  Pointer<std::int32_t> bits;
  int count;

  /// Where a point's x is.
  __device__ Pointer<std::int32_t> of_point(unsigned n) const {
    return bits + (std::int64_t(n / kFpsRun) * kFpsRunBits + n % kFpsRun);
  }
  /// Where the x of a run's first point is.
  __device__ Pointer<std::int32_t> operator[](int run) const {
    return bits + std::int64_t(run) * kFpsRunBits;
  }
};

__device__ void put(Pointer<std::int32_t> at, const float (&point)[3], float nearest,
                    std::int32_t rank) {
  for (int k = 0; k < 3; ++k) at[k * kFpsRun] = bits_of(point[k]);
  at[Runs::kNearest * kFpsRun] = bits_of(nearest);
  at[Runs::kRank * kFpsRun] = rank;
}

/// Ends with a barrier.
__device__ void sort(Pointer<const float> xyz, std::int64_t N, const Runs& runs,
                     const FpsOrder& order, double skip, Pointer<float> line) {
  __shared__ Shared<unsigned[kCells]> cell;
  for (int c = int(threadIdx.x); c < kCells; c += blockDim.x) cell[c] = 0;
  const Grid grid(xyz, N, line);
  for (int pass = 0; pass < 2; ++pass) {
    __syncthreads();
    for (std::int64_t n = threadIdx.x; n < N; n += blockDim.x) {
      const float at[3] = {xyz[3 * n], xyz[3 * n + 1], xyz[3 * n + 2]};
      const unsigned place = atomicAdd(&cell[grid.cell(at)], 1u);
      if (pass == 0) continue;  // counts only
      const bool skipped =
          skip >= 0 && double((at[0] * at[0] + at[1] * at[1]) + at[2] * at[2]) <= skip;
      put(runs.of_point(place), at, skipped ? kSkipped : kFar, order.rank(n));
    }
    __syncthreads();
    if (pass == 0) begin_cells(cell, line);
  }
  for (std::int64_t n = N + threadIdx.x; n < runs.count * kFpsRun; n += blockDim.x)
    put(runs.of_point(unsigned(n)), {}, kSkipped, kUnknown);
  __syncthreads();
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

/// The farthest of those that the lanes of a warp have seen, and whether this one has seen it.
struct Lead {
  int distance;
  unsigned rank;
  bool mine;

  __device__ Lead(int of_lane, unsigned rank_of_lane)
      : distance(__reduce_max_sync(kAll, of_lane)),
        rank(__reduce_min_sync(kAll, of_lane == distance ? rank_of_lane : kUnknown)),
        mine(of_lane == distance && rank_of_lane == rank) {}
  /// The first lane that has seen it.
  __device__ int lane() const { return __ffs(int(__ballot_sync(kAll, mine))) - 1; }
};

/// Of what the warps of a block have seen, where `leads` says which lane has a warp's farthest;
/// each thread gets it. One barrier: what is read after it in one `turn`, 0 or 1, is written again
/// after the next one's.
__device__ Farthest farthest_of_block(const Farthest& seen, bool leads, int turn) {
  constexpr int kValues = 5;
  __shared__ Shared<int[2 * kValues * kMostWarps]> line;
  const int lane = int(threadIdx.x) % kLanes, warp = int(threadIdx.x) / kLanes;
  const int values = turn * kValues * kMostWarps;
  if (leads) {
    line[values + warp] = seen.distance;
    line[values + kMostWarps + warp] = int(seen.rank);
    for (int k = 0; k < 3; ++k) line[values + (2 + k) * kMostWarps + warp] = bits_of(seen.at[k]);
  }
  __syncthreads();
  Farthest all;
  if (lane < int(blockDim.x) / kLanes) {
    all.distance = line[values + lane];
    all.rank = unsigned(line[values + kMostWarps + lane]);
  }
  const Lead lead(all.distance, all.rank);
  const int first = lead.lane();
  all.distance = lead.distance;
  all.rank = lead.rank;
  for (int k = 0; k < 3; ++k) all.at[k] = float_of(line[values + (2 + k) * kMostWarps + first]);
  return all;
}

/// The tiles of a warp: lane l has every `warps`th, so that neighbours are of several warps.
struct Tiles {
  int each;  // runs of a tile; so many that no lane has two tiles
  int lane, warp, warps;

  __device__ explicit Tiles(int runs)
      : each(int(pieces(runs, blockDim.x))),
        lane(int(threadIdx.x) % kLanes),
        warp(int(threadIdx.x) / kLanes),
        warps(int(blockDim.x) / kLanes) {}
  /// A run of a lane's tile.
  __device__ int run(int of_lane, int i) const { return (of_lane * warps + warp) * each + i; }
};

/// Makes the distances of the points of some lanes' tiles at most those to `here`, by all lanes of
/// a warp; each sees some of the points. A lane of -1 has no points.
__device__ void lower(const Runs& runs, const Tiles& tiles, const int (&lanes)[kTogether],
                      const float (&here)[3], Farthest (&far)[kTogether]) {
  for (int i = 0; i < tiles.each; ++i) {
    Pointer<std::int32_t> at[kTogether] = {runs[0], runs[0]};
    Farthest point[kTogether][kEach];
    bool is_run[kTogether];
    for (int u = 0; u < kTogether; ++u) {  // all loads first
      is_run[u] = lanes[u] >= 0 && tiles.run(lanes[u], i) < runs.count;
      if (!is_run[u]) continue;
      at[u] = runs[tiles.run(lanes[u], i)] + tiles.lane;
      for (int e = 0; e < kEach; ++e) {
        const Pointer<std::int32_t> from = at[u] + e * kLanes;
        for (int k = 0; k < 3; ++k) point[u][e].at[k] = float_of(from[k * kFpsRun]);
        point[u][e].distance = from[Runs::kNearest * kFpsRun];
        point[u][e].rank = unsigned(from[Runs::kRank * kFpsRun]);
      }
    }
    for (int u = 0; u < kTogether; ++u) {
      if (!is_run[u]) continue;
      for (int e = 0; e < kEach; ++e) {
        const int d2 = bits_of(dist2(point[u][e].at, here));
        if (d2 < point[u][e].distance) {
          point[u][e].distance = d2;
          at[u][Runs::kNearest * kFpsRun + e * kLanes] = d2;
        }
        far[u].see(point[u][e]);
      }
    }
  }
}

/// Tells the owners of the tiles of what their points' farthest is.
__device__ void keep(const Tiles& tiles, const int (&lanes)[kTogether],
                     const Farthest (&far)[kTogether], Farthest& mine) {
  for (int u = 0; u < kTogether; ++u) {
    const Lead lead(far[u].distance, far[u].rank);
    const int from = lead.lane();
    Farthest kept;
    kept.distance = lead.distance;
    kept.rank = lead.rank;
    for (int k = 0; k < 3; ++k) kept.at[k] = __shfl_sync(kAll, far[u].at[k], from);
    if (tiles.lane == lanes[u]) mine = kept;
  }
}

/// The box of a lane's tile, by all lanes of a warp. `N` points are not left over.
__device__ Box box_of(const Runs& runs, const Tiles& tiles, int of_lane, std::int64_t N) {
  Box box = {{kFar, kFar, kFar}, {-kFar, -kFar, -kFar}};
  for (std::int64_t i = 0; i < tiles.each * kFpsRun; i += kLanes) {
    const std::int64_t n = tiles.run(of_lane, 0) * kFpsRun + i + tiles.lane;
    if (n >= N) continue;
    const Pointer<std::int32_t> from = runs.of_point(unsigned(n));
    for (int k = 0; k < 3; ++k) {
      const float x = float_of(from[k * kFpsRun]);
      box.lo[k] = x < box.lo[k] ? x : box.lo[k];
      box.hi[k] = x > box.hi[k] ? x : box.hi[k];
    }
  }
  for (int k = 0; k < 3; ++k) {
    box.lo[k] = least(box.lo[k]);
    box.hi[k] = -least(-box.hi[k]);
  }
  return box;
}

__global__ void __launch_bounds__(kMostWarps* kLanes)
    fps_kernel(Pointer<const float> xyz, Pointer<const std::int64_t> ptr,
               Pointer<std::int32_t> scratch, Pointer<std::int64_t> index, std::int64_t K,
               bool published_ties, double skip) {
  __shared__ Shared<float[3 * kLanes]> line;
  const std::int64_t b = blockIdx.x, first = ptr[b], N = ptr[b + 1] - first;
  const FpsOrder order(N, published_ties);
  const Runs runs{scratch + (first / kFpsRun + b) * kFpsRunBits, int(pieces(N, kFpsRun))};
  sort(xyz + 3 * first, N, runs, order, skip, line);

  const Tiles tiles(runs.count);
  float here[3];
  for (int k = 0; k < 3; ++k) here[k] = xyz[3 * first + k];
  Box box = {};
  Farthest mine;
  for (int l = 0; l < kLanes && tiles.run(l, 0) < runs.count; ++l) {
    const Box found = box_of(runs, tiles, l, N);
    if (tiles.lane == l) box = found;
    const int lanes[kTogether] = {l, -1};
    Farthest far[kTogether];
    lower(runs, tiles, lanes, here, far);
    keep(tiles, lanes, far, mine);
  }
  Pointer<std::int64_t> picks = index + b * K;
  if (threadIdx.x == 0) picks[0] = 0;
  Farthest seen = mine;
  bool leads = Lead(seen.distance, seen.rank).mine;
  for (std::int64_t k = 1; k < K; ++k) {
    const Farthest pick = farthest_of_block(seen, leads, int(k % 2));
    if (threadIdx.x == 0)  // where all are skipped, point 0 again
      picks[k] = pick.distance < 0 ? order.rank(0) : std::int64_t(pick.rank);
    const Box at = {{pick.at[0], pick.at[1], pick.at[2]}, {pick.at[0], pick.at[1], pick.at[2]}};
    const bool near = mine.distance >= 0 && gap2(box, at) < float_of(mine.distance);
    seen = near ? Farthest{} : mine;
    unsigned left = __ballot_sync(kAll, near);
    if (left == 0) leads = Lead(seen.distance, seen.rank).mine;
    while (left != 0) {
      int lanes[kTogether];
      for (int& l : lanes) {
        l = __ffs(int(left)) - 1;
        left &= left - 1;
      }
      Farthest far[kTogether];
      lower(runs, tiles, lanes, pick.at, far);
      for (const Farthest& f : far) seen.see(f);
      leads = Lead(seen.distance, seen.rank).mine;  // beside those of the tiles, which it spares
      keep(tiles, lanes, far, mine);
    }
  }
  __syncthreads();
  for (std::int64_t k = threadIdx.x; k < K; k += blockDim.x) picks[k] = order.point(picks[k]);
}

}  // namespace

template <>
void fps<Cuda>(const Fps& p, void* stream) {
  if (p.B == 0) return;
  // Some tiles for each warp; how many points each cloud has is not read on the host.
  const std::int64_t warps = pieces(p.N, 8 * kFpsRun);
  const std::int64_t threads = kLanes * (warps < kMostWarps ? warps : kMostWarps);
  launch("fps_kernel", fps_kernel, unsigned(p.B), unsigned(threads), 0, stream, p.xyz, p.ptr,
         p.scratch, p.index, p.K, p.published_ties, p.skip);
}

}  // namespace cmad
