#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/launch.cuh"

// Small kernels, each once right and once with a mistake that the emulator must find; for tests.

namespace cmad {

constexpr int kThreads = 64, kBlocks = 2, kAll = kThreads * kBlocks;
using In = Pointer<const float>;  // [kAll]
using Out = Pointer<float>;       // [kAll]

__device__ inline int here() { return int(blockIdx.x) * kThreads + int(threadIdx.x); }

using Kernel = void (*)(In, Out);
struct Pair {
  Kernel right, wrong;
};
using Kernels = std::map<std::string, Pair>;

/// With asynchronous copies, and products of a warp.
Kernels mma_kernels();

/// A B^T of A [16][16] and B [16][16], rounded to float16, by a warp; or A B, where `turned`.
std::vector<float> mma_product(const std::vector<float>& a, const std::vector<float>& b,
                               bool turned, std::uint64_t seed);

/// The two numbers that each lane gets of each of four matrices [8][8]: [32][4][2].
std::vector<float> ldmatrix_lanes(const std::vector<float>& matrices, bool turned,
                                  std::uint64_t seed);

}  // namespace cmad
