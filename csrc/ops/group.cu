#include <cstdint>
#include <cstring>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/group.h"

// A block has some centres and goes through their cloud twice. First each thread finds the least
// key, distance and index, of its own points: of these the n-th least is a bound that at least n
// points are within, and as neighbours belong to different threads, hardly more: 177 for 128 of 256
// threads. Then the points within the bound are put into shared memory and sorted. A thread's
// points lie as far apart as its block is wide; most of the second time whole stretches of the
// cloud are farther than the bound and are passed over. K neighbours take rounds of at most 128 for
// the next nearest.

namespace cmad {
namespace {

constexpr int kLanes = 32;
constexpr int kThreads = 256;
constexpr int kCentres = 4;  // of a block: a point is read once for all of them
constexpr int kRoom = 512;   // points within the bound
constexpr unsigned kAll = 0xffffffffu;
constexpr std::uint64_t kNone = ~std::uint64_t(0);  // above every key

__device__ std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
__device__ std::uint64_t key_of(std::uint32_t distance, std::uint32_t index) {
  return std::uint64_t(distance) << 32 | index;
}

/// Sorts kCentres segments of `size` keys, a power of two, that are `stride` apart. The steps of a
/// warp's own 64 keys need no barrier of the block. Ends without a barrier.
__device__ void sort(Pointer<std::uint64_t> keys, int size, int stride) {
  const int pairs = size / 2;
  int before = kThreads;  // how far apart the step before was; at first, others wrote the keys
  for (int length = 2; length <= size; length *= 2)
    for (int apart = length / 2; apart > 0; apart /= 2) {
      if (apart > kLanes || before > kLanes)
        __syncthreads();
      else
        __syncwarp();
      before = apart;
      for (int i = int(threadIdx.x); i < kCentres * pairs; i += kThreads) {
        const int pair = i % pairs, low = 2 * pair - pair % apart;
        const int at = i / pairs * stride + low;
        const std::uint64_t a = keys[at], b = keys[at + apart];
        if ((a > b) != ((low & length) != 0)) {
          keys[at] = b;
          keys[at + apart] = a;
        }
      }
    }
}

/// The points of a cloud as a thread of a block sees them.
struct Cloud {
  Pointer<const float> xyz;
  std::int64_t N;
  int rows;     // of kThreads points, of each of which a thread has one
  int stretch;  // rows that are passed over together

  __device__ Cloud(Pointer<const float> points, std::int64_t count)
      : xyz(points),
        N(count),
        rows(int(pieces(count, kThreads))),
        stretch(int(pieces(rows, kLanes))) {}

  /// Calls `f(n, point)` for a thread's points of a stretch. In each row it has another place, so
  /// that points one above the other in an image are not all of one thread.
  template <class F>
  __device__ void each(int s, F&& f) const {
    const int end = (s + 1) * stretch < rows ? (s + 1) * stretch : rows;
    for (int row = s * stretch; row < end; ++row) {
      const unsigned turn = (unsigned(row) * 0x9e3779b9u) >> 24;
      const std::int64_t n = std::int64_t(row) * kThreads + (threadIdx.x ^ turn);
      if (n >= N) continue;
      const float point[3] = {xyz[3 * n], xyz[3 * n + 1], xyz[3 * n + 2]};
      f(std::uint32_t(n), point);
    }
  }
};
static_assert(kThreads == 256, "as many as `turn` has values");

/// What all threads know of the search around a centre.
struct Search {
  float at[3] = {};
  std::uint64_t from = 0;   // keys below are written
  std::uint64_t bound = 0;  // keys up to it are looked for
  std::int64_t written = 0;
};

/// The neighbours of `count` centres of one cloud.
__device__ void find(const Cloud& cloud, Pointer<const float> centre, int count,
                     Pointer<std::int64_t> index, std::int64_t K) {
  __shared__ Shared<std::uint64_t[kCentres * kThreads]> least;
  __shared__ Shared<std::uint64_t[kCentres * kRoom]> found;
  __shared__ Shared<int[kCentres]> held;
  const int t = int(threadIdx.x), lane = t % kLanes;
  Search search[kCentres];
  for (int c = 0; c < kCentres; ++c) {
    for (int k = 0; k < 3 && c < count; ++k) search[c].at[k] = centre[3 * c + k];
    if (c >= count) search[c].written = K;
  }
  std::uint32_t nearest[kCentres];  // of a lane's stretch: the least distance of the warp's points
  for (bool more = true; more;) {
    // The least keys that are not yet written.
    std::uint32_t distance[kCentres], point_of[kCentres];
    for (int c = 0; c < kCentres; ++c) distance[c] = point_of[c] = nearest[c] = ~0u;
    for (int s = 0; s * cloud.stretch < cloud.rows; ++s) {
      std::uint32_t of_stretch[kCentres];
      for (std::uint32_t& d : of_stretch) d = ~0u;
      cloud.each(s, [&](std::uint32_t n, const float (&point)[3]) {
        for (int c = 0; c < kCentres; ++c) {
          const std::uint32_t d = bits_of(dist2(point, search[c].at));
          of_stretch[c] = d < of_stretch[c] ? d : of_stretch[c];
          if (d >= distance[c] || key_of(d, n) < search[c].from) continue;
          distance[c] = d;
          point_of[c] = n;
        }
      });
      for (int c = 0; c < kCentres; ++c) {
        const std::uint32_t d = __reduce_min_sync(kAll, of_stretch[c]);
        if (lane == s) nearest[c] = d;
      }
    }
    for (int c = 0; c < kCentres; ++c) least[c * kThreads + t] = key_of(distance[c], point_of[c]);
    sort(least, kThreads, kThreads);
    // The keys within the bound, of fewer threads where there is no room.
    int most = kRoom + 1;
    for (int wanted = kThreads / 2; most > kRoom; wanted /= 2) {
      __syncthreads();
      if (t < kCentres) held[t] = 0;
      for (int c = 0; c < kCentres; ++c) {
        const std::int64_t left = K - search[c].written;
        if (left > 0) search[c].bound = least[c * kThreads + (left < wanted ? left : wanted) - 1];
      }
      __syncthreads();
      for (int s = 0; s * cloud.stretch < cloud.rows; ++s) {
        bool any = false;
        for (int c = 0; c < kCentres; ++c)
          any = any || (search[c].written < K &&
                        __shfl_sync(kAll, nearest[c], s) <= std::uint32_t(search[c].bound >> 32));
        if (!any) continue;
        cloud.each(s, [&](std::uint32_t n, const float (&point)[3]) {
          for (int c = 0; c < kCentres; ++c) {
            const std::uint64_t key = key_of(bits_of(dist2(point, search[c].at)), n);
            if (key > search[c].bound || key < search[c].from || search[c].written == K) continue;
            const int place = atomicAdd(&held[c], 1);
            if (place < kRoom) found[c * kRoom + place] = key;
          }
        });
      }
      __syncthreads();
      most = 0;
      for (int c = 0; c < kCentres; ++c) most = held[c] > most ? int(held[c]) : most;
    }
    int size = 2;
    while (size < most) size *= 2;
    for (int c = 0; c < kCentres; ++c)
      for (int i = held[c] + t; i < size; i += kThreads) found[c * kRoom + i] = kNone;
    sort(found, size, kRoom);
    __syncthreads();
    more = false;
    for (int c = 0; c < kCentres; ++c) {
      const std::int64_t left = K - search[c].written, here = held[c];
      const std::int64_t written = here < left ? here : left;
      for (std::int64_t i = t; i < written; i += kThreads)
        index[c * K + search[c].written + i] = key_index(found[c * kRoom + i]);
      search[c].from = search[c].bound + 1;
      search[c].written += written;
      more = more || search[c].written < K;
    }
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    group_kernel(Pointer<const float> xyz, Pointer<const std::int64_t> ptr,
                 Pointer<const float> centre, Pointer<const std::int64_t> centre_ptr,
                 Pointer<std::int64_t> index, std::int64_t B, std::int64_t G, std::int64_t K) {
  std::int64_t g = std::int64_t(blockIdx.x) * kCentres;
  const std::int64_t end = g + kCentres < G ? g + kCentres : G;
  while (g < end) {  // once, but where the block's centres are of several clouds
    std::int64_t b = 0, behind = B;
    while (b + 1 < behind) {  // the last cloud whose centres begin at g or before
      const std::int64_t middle = (b + behind) / 2;
      if (centre_ptr[middle] <= g)
        b = middle;
      else
        behind = middle;
    }
    const std::int64_t to = centre_ptr[b + 1] < end ? centre_ptr[b + 1] : end;
    find(Cloud(xyz + 3 * ptr[b], ptr[b + 1] - ptr[b]), centre + 3 * g, int(to - g), index + g * K,
         K);
    g = to;
    __syncthreads();  // who still reads the keys
  }
}

}  // namespace

template <>
void group<Cuda>(const Group& p, void* stream) {
  if (p.G == 0) return;
  launch("group_kernel", group_kernel, unsigned(pieces(p.G, kCentres)), kThreads, 0, stream, p.xyz,
         p.ptr, p.centre, p.centre_ptr, p.index, p.B, p.G, p.K);
}

}  // namespace cmad
