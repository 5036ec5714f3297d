#include <cstdint>

#include "core/launch.cuh"
#include "core/math.h"
#include "ops/fpfh.h"
#include "ops/fpfh_point.h"

// A thread has a point, in three launches: normals, simple histograms, whole ones. Neighbours of
// neighbouring points are mostly the same, so that they are read from caches; nothing is shared.

namespace cmad {
namespace {

constexpr int kThreads = 128;

/// Where the cloud of a point begins.
__device__ std::int64_t first_of(Pointer<const std::int64_t> ptr, std::int64_t B, std::int64_t n) {
  std::int64_t low = 0,
               high = B;  // the last cloud that begins at or before n, of those with points
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    const std::int64_t begin = ptr[middle];
    if (begin <= n)
      low = middle;
    else
      high = middle;
  }
  return ptr[low];
}

__global__ void normals(Pointer<const float> xyz, Pointer<const std::int64_t> ptr,
                        Pointer<const std::int64_t> index, Pointer<double> normal, std::int64_t B,
                        std::int64_t N, std::int64_t K, std::int64_t count, double radius) {
  const std::int64_t n = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= N) return;
  const Vector v = normal_of(xyz, n, first_of(ptr, B, n), index + n * K, count, radius);
  normal[3 * n] = v.x;
  normal[3 * n + 1] = v.y;
  normal[3 * n + 2] = v.z;
}

__global__ void simple_histograms(Pointer<const float> xyz, Pointer<const std::int64_t> ptr,
                                  Pointer<const std::int64_t> index, Pointer<const double> normal,
                                  Pointer<double> simple, std::int64_t B, std::int64_t N,
                                  std::int64_t K, double radius) {
  const std::int64_t n = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= N) return;
  Pointer<double> out = simple + kFpfhChannels * n;
  simple_histogram(xyz, n, first_of(ptr, B, n), index + n * K, K, radius, normal, out);
}

__global__ void full_histograms(Pointer<const float> xyz, Pointer<const std::int64_t> ptr,
                                Pointer<const std::int64_t> index, Pointer<const double> simple,
                                Pointer<double> whole, std::int64_t B, std::int64_t N,
                                std::int64_t K, double radius) {
  const std::int64_t n = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= N) return;
  Pointer<double> out = whole + kFpfhChannels * n;
  full_histogram(xyz, n, first_of(ptr, B, n), index + n * K, K, radius, simple, out);
}

}  // namespace

template <>
void fpfh<Cuda>(const Fpfh& p, void* stream) {
  if (p.N == 0) return;
  const dim3 grid(unsigned(pieces(p.N, kThreads))), block(kThreads);
  const std::int64_t count = p.K < p.normal_neighbours ? p.K : p.normal_neighbours;
  launch("fpfh: normals", normals, grid, block, 0, stream, p.xyz, p.ptr, p.index, p.normal, p.B,
         p.N, p.K, count, p.normal_radius);
  launch("fpfh: simple_histograms", simple_histograms, grid, block, 0, stream, p.xyz, p.ptr,
         p.index, p.normal, p.simple, p.B, p.N, p.K, p.radius);
  launch("fpfh: full_histograms", full_histograms, grid, block, 0, stream, p.xyz, p.ptr, p.index,
         p.simple, p.out, p.B, p.N, p.K, p.radius);
}

}  // namespace cmad
