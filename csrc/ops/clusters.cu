#include <cmath>
#include <cstdint>
#include <limits>

#include "core/launch.cuh"
#include "core/math.h"
#include "core/union_find.cuh"
#include "ops/clusters.h"

// As on the CPU (clusters.cpp), points lie in cubes so small that all of a cube are within eps of
// each other; on a surface sampled finely most cubes hold min_points, and need no counting. Cubes
// are found by a hash table whose slots name one point of the cube, its owner. Threads fill it in
// any order, which decides where cubes and their points lie, but no label.
//
// To fill it a thread has a point or a slot. Then a warp has a point, to count what is near or to
// find the cluster that it borders on: each of its lanes searches some of the cubes around. To join
// cubes a warp has one; its lanes ask which cubes around are in another set, then all compare the
// points of two cubes. A set is one of core points; the tree holds each cube's lowest, and below it
// the cube's others.

namespace cmad {
namespace {

constexpr int kThreads = 256;
constexpr int kLanes = 32, kRows = 4;  // a warp has a point or a cube
constexpr std::int32_t kNone = std::numeric_limits<std::int32_t>::max();
constexpr int kWide = 5;  // cubes that reach as far as eps to both sides
constexpr int kAround = kWide * kWide * kWide;

struct CubeId {
  std::int64_t at[3];
};

__device__ CubeId cube_of(Pointer<const std::int64_t> cube, std::int32_t point) {
  const std::int64_t first = 3 * std::int64_t(point);
  return {{cube[first], cube[first + 1], cube[first + 2]}};
}

__device__ bool same(const CubeId& a, const CubeId& b) {
  return a.at[0] == b.at[0] && a.at[1] == b.at[1] && a.at[2] == b.at[2];
}

/// The slot to look at first.
__device__ std::int64_t first_slot(const CubeId& id, std::int64_t slots) {
  std::uint64_t hash = 0;
  for (const std::int64_t at : id.at) hash = hash64(hash + std::uint64_t(at));
  return std::int64_t(hash & std::uint64_t(slots - 1));
}

/// The cube that is the i-th of wide³ around one; that one is in the middle.
__device__ CubeId around(CubeId id, int i, int wide) {
  id.at[0] += i % wide - wide / 2;
  id.at[1] += i / wide % wide - wide / 2;
  id.at[2] += i / (wide * wide) - wide / 2;
  return id;
}

/// The table, when it is filled: the points of slot s lie from end[s] - count[s] to end[s].
struct Table {
  Pointer<const std::int64_t> cube;
  Pointer<const std::int32_t> owner, count, end;
  std::int64_t slots;

  /// The slot of a cube, or -1.
  __device__ std::int64_t find(const CubeId& id) const {
    for (std::int64_t s = first_slot(id, slots);; s = (s + 1) & (slots - 1)) {
      const std::int32_t point = owner[s];
      if (point < 0) return -1;
      if (same(cube_of(cube, point), id)) return s;
    }
  }
  __device__ std::int64_t begin(std::int64_t s) const { return end[s] - count[s]; }
};

struct Point {
  float at[3];
};
__device__ Point point_at(Pointer<const float> xyz, std::int64_t i) {
  return {{xyz[3 * i], xyz[3 * i + 1], xyz[3 * i + 2]}};
}

__global__ void clear_kernel(Pointer<const float> xyz, Pointer<std::int64_t> cube,
                             Pointer<std::int32_t> owner, Pointer<std::int32_t> count,
                             Pointer<std::int32_t> lowest, Pointer<std::int32_t> filled,
                             std::int64_t N, std::int64_t slots, double side) {
  const std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i < N)
    for (int a = 0; a < 3; ++a)
      cube[3 * i + a] = std::int64_t(std::floor(double(xyz[3 * i + a]) / side));
  if (i < slots) {
    owner[i] = -1;
    count[i] = 0;
    lowest[i] = kNone;
  }
  if (i < 2) filled[N + i] = 0;
}

/// Finds or takes the slot of each point's cube. There are two slots for each point.
__global__ void gather_kernel(Pointer<const std::int64_t> cube, Pointer<std::int32_t> owner,
                              Pointer<std::int32_t> count, Pointer<std::int32_t> slot,
                              std::int64_t N, std::int64_t slots) {
  const std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= N) return;
  const auto n = std::int32_t(i);
  const CubeId id = cube_of(cube, n);
  std::int64_t s = first_slot(id, slots);
  for (;; s = (s + 1) & (slots - 1)) {
    std::int32_t point = atomic_load(owner + s);
    if (point < 0) point = atomicCAS(owner + s, -1, n);
    if (point < 0 || same(cube_of(cube, point), id)) break;
  }
  slot[i] = std::int32_t(s);
  atomicAdd(count + s, 1);
}

/// Gives each cube its place among the points and in the list of those filled: the last two
/// entries of `filled` count the points and the cubes that have theirs.
__global__ void place_kernel(Pointer<const std::int32_t> count, Pointer<std::int32_t> end,
                             Pointer<std::int32_t> filled, std::int64_t N, std::int64_t slots) {
  const std::int64_t s = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const unsigned lane = threadIdx.x % kLanes;
  const std::int32_t points = s < slots ? std::int32_t(count[s]) : 0;
  const unsigned cubes = __ballot_sync(kWholeWarp, points > 0);
  const std::int32_t to_here = sum_to(points);
  std::int32_t first = 0, number = 0;
  if (lane == kLanes - 1) {
    first = atomicAdd(filled + N, to_here);
    number = atomicAdd(filled + N + 1, __popc(cubes));
  }
  first = __shfl_sync(kWholeWarp, first, kLanes - 1);
  number = __shfl_sync(kWholeWarp, number, kLanes - 1);
  if (points == 0) return;
  end[s] = first + to_here - points;  // its points will move it on
  filled[number + __popc(cubes & ((1u << lane) - 1))] = std::int32_t(s);
}

__global__ void scatter_kernel(Pointer<const float> xyz, Pointer<const std::int32_t> slot,
                               Pointer<std::int32_t> end, Pointer<std::int32_t> order,
                               Pointer<float> sorted, std::int64_t N) {
  const std::int64_t n = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= N) return;
  const std::int32_t at = atomicAdd(end + slot[n], 1);
  order[at] = std::int32_t(n);
  for (int a = 0; a < 3; ++a) sorted[3 * std::int64_t(at) + a] = xyz[3 * n + a];
}

__global__ void core_kernel(Table table, Pointer<const float> sorted,
                            Pointer<const std::int32_t> order, Pointer<const std::int32_t> slot,
                            Pointer<bool> core, Pointer<std::int32_t> lowest,
                            Pointer<std::int32_t> parent, std::int64_t N, std::int64_t min_points,
                            float eps2) {
  const std::int64_t i = std::int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (i >= N) return;  // a whole warp
  const int lane = int(threadIdx.x);
  const std::int32_t n = order[i], s = slot[n];
  const Point here = point_at(sorted, i);
  const CubeId id = cube_of(table.cube, n);
  std::int64_t near = table.count[s];
  for (int first = 0; first < kAround && near < min_points; first += kLanes) {
    const int c = first + lane;
    const std::int64_t other = c < kAround ? table.find(around(id, c, kWide)) : -1;
    std::int32_t more = 0;
    if (other >= 0 && other != s) {
      const std::int64_t end = table.end[other];
      for (std::int64_t j = table.begin(other); j < end && more < min_points; ++j)
        more += dist2(here.at, point_at(sorted, j).at) <= eps2;
    }
    near += __reduce_add_sync(kWholeWarp, more);
  }
  if (lane > 0) return;
  const bool enough = near >= min_points;
  core[i] = enough;
  parent[n] = enough ? n : -1;
  if (enough) atomicMin(lowest + s, n);
}

/// Whether two cubes have core points within eps of each other; the same in all lanes.
__device__ bool touch(const Table& table, Pointer<const float> sorted, Pointer<const bool> core,
                      std::int64_t a, std::int64_t b, float eps2) {
  const std::int64_t a_end = table.end[a], b_begin = table.begin(b), b_end = table.end[b];
  for (std::int64_t i = table.begin(a); i < a_end; ++i) {
    if (!core[i]) continue;
    const Point here = point_at(sorted, i);
    for (std::int64_t first = b_begin; first < b_end; first += kLanes) {
      const std::int64_t j = first + threadIdx.x;
      const bool near = j < b_end && core[j] && dist2(here.at, point_at(sorted, j).at) <= eps2;
      if (__any_sync(kWholeWarp, near)) return true;
    }
  }
  return false;
}

__global__ void join_kernel(Table table, Pointer<const float> sorted,
                            Pointer<const std::int32_t> order, Pointer<const bool> core,
                            Pointer<const std::int32_t> lowest, Pointer<const std::int32_t> filled,
                            Pointer<std::int32_t> parent, std::int64_t N, float eps2) {
  const std::int64_t c = std::int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (c >= filled[N + 1]) return;  // a whole warp, as in the next return
  const std::int64_t s = filled[c];
  const std::int32_t own = lowest[s];
  if (own == kNone) return;
  const int lane = int(threadIdx.x);
  const std::int64_t end = table.end[s];
  for (std::int64_t i = table.begin(s) + lane; i < end; i += kLanes)
    if (core[i] && order[i] != own) parent[order[i]] = own;

  const CubeId id = cube_of(table.cube, table.owner[s]);
  // Cubes side by side first: those two steps apart are then mostly joined already. Of a pair one
  // cube does it.
  for (int wide = 3; wide <= kWide; wide += 2) {
    const int all = wide * wide * wide;
    for (int first = all / 2 + 1; first < all; first += kLanes) {
      const int i = first + lane;
      std::int64_t other = i < all ? table.find(around(id, i, wide)) : -1;
      if (other >= 0 && (lowest[other] == kNone ||
                         root_so_far(parent, lowest[other]) == root_so_far(parent, own)))
        other = -1;
      for (unsigned left = __ballot_sync(kWholeWarp, other >= 0); left != 0; left &= left - 1) {
        const std::int64_t b = __shfl_sync(kWholeWarp, other, __ffs(int(left)) - 1);
        if (touch(table, sorted, core, s, b, eps2) && lane == 0) join(parent, own, lowest[b]);
      }
    }
  }
}

__global__ void label_points_kernel(Table table, Pointer<const float> sorted,
                                    Pointer<const std::int32_t> order, Pointer<const bool> core,
                                    Pointer<const std::int32_t> lowest,
                                    Pointer<const std::int32_t> parent,
                                    Pointer<const std::int32_t> number,
                                    Pointer<const std::int32_t> total, Pointer<std::int64_t> label,
                                    std::int64_t N, float eps2) {
  const std::int64_t i = std::int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (i >= N) return;  // a whole warp
  const std::int32_t n = order[i];
  std::int32_t root = kNone;  // the lowest: its cluster has the lowest number
  if (core[i]) {
    root = root_of(parent, n);
  } else {
    const Point here = point_at(sorted, i);
    const CubeId id = cube_of(table.cube, n);
    for (int c = int(threadIdx.x); c < kAround; c += kLanes) {
      const std::int64_t other = table.find(around(id, c, kWide));
      if (other < 0 || lowest[other] == kNone) continue;
      const std::int32_t its = root_of(parent, lowest[other]);
      const std::int64_t end = table.end[other];
      for (std::int64_t j = table.begin(other); j < end && its < root; ++j)
        if (core[j] && dist2(here.at, point_at(sorted, j).at) <= eps2) root = its;
    }
    root = __reduce_min_sync(kWholeWarp, root);
  }
  if (threadIdx.x == 0) label[n] = root == kNone ? -1 : number_of(number, total, root);
}

}  // namespace

template <>
void clusters<Cuda>(const Clusters& p, void* stream) {
  if (p.N == 0) return;
  const float eps2 = p.eps * p.eps;
  const double side = double(p.eps) * 0.577;
  const dim3 points(unsigned(pieces(p.N, kThreads))), slots(unsigned(pieces(p.C, kThreads)));
  const dim3 warps(unsigned(pieces(p.N, kRows))), warp(kLanes, kRows);
  launch("clusters: clear_kernel", clear_kernel, slots, kThreads, 0, stream, p.xyz, p.cube, p.owner,
         p.count, p.lowest, p.filled, p.N, p.C, side);
  launch("clusters: gather_kernel", gather_kernel, points, kThreads, 0, stream, p.cube, p.owner,
         p.count, p.slot, p.N, p.C);
  launch("clusters: place_kernel", place_kernel, slots, kThreads, 0, stream, p.count, p.end,
         p.filled, p.N, p.C);
  launch("clusters: scatter_kernel", scatter_kernel, points, kThreads, 0, stream, p.xyz, p.slot,
         p.end, p.order, p.sorted, p.N);
  const Table table{p.cube, p.owner, p.count, p.end, p.C};
  launch("clusters: core_kernel", core_kernel, warps, warp, 0, stream, table, p.sorted, p.order,
         p.slot, p.core, p.lowest, p.parent, p.N, p.min_points, eps2);
  // There are at most as many cubes as points.
  launch("clusters: join_kernel", join_kernel, warps, warp, 0, stream, table, p.sorted, p.order,
         p.core, p.lowest, p.filled, p.parent, p.N, eps2);
  number_roots(p.parent, p.number, p.total, p.N, stream);
  launch("clusters: label_points_kernel", label_points_kernel, warps, warp, 0, stream, table,
         p.sorted, p.order, p.core, p.lowest, p.parent, p.number, p.total, p.label, p.N, eps2);
}

}  // namespace cmad
