#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/device.h"
#include "emulate/block.h"
#include "emulate/intrinsics.h"
#include "emulate/memory.h"
#include "emulate/pointer.h"

// Takes the place of csrc/core/launch.cuh, by the order of include directories, where kernels are
// compiled for the host.

namespace cmad {

namespace emulate {

/// Draws the order of threads.
inline thread_local std::uint64_t seed = 0;

/// What a kernel was started with.
struct Launch {
  std::string kernel;
  dim3 grid, block;
  std::size_t shared_bytes;
};

/// Each launch while `listing`; kernels run only if not `listing`.
inline thread_local std::vector<Launch> listed;
inline thread_local bool listing = false;

inline void check_launch(const dim3& grid, const dim3& block, std::size_t shared_bytes) {
  const std::uint64_t threads = std::uint64_t(block.x) * block.y * block.z;
  if (threads < 1 || threads > 1024 || block.z > 64)
    throw Fault(std::string(now.kernel) + ": a block of " + said(block) + " threads");
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 0x7fffffffu || grid.y > 65535 ||
      grid.z > 65535)
    throw Fault(std::string(now.kernel) + ": a grid of " + said(grid) + " blocks");
  if (shared_bytes > kSharedBytes)
    throw Fault(std::string(now.kernel) + ": " + std::to_string(shared_bytes) +
                " bytes of dynamic shared memory");
}

/// The kernel of this launch, for as long as it runs.
struct Running {
  explicit Running(const char* name) {
    static thread_local std::uint32_t launches = 0;
    now.kernel = name;
    now.launch = ++launches;
  }
  Running(const Running&) = delete;
  ~Running() { now = Now{}; }
};

}  // namespace emulate

/// Dynamic shared memory from a byte on.
template <class T>
Pointer<T> dynamic_shared(std::size_t byte = 0) {
  emulate::Block& block = *emulate::Block::running;
  return {reinterpret_cast<T*>(block.shared() + byte), block.shared_memory()};
}

/// Reads an element that other threads update by atomics.
template <class T>
T atomic_load(Pointer<T> at) {
  return emulate::atomic(at, [](T old) { return old; });
}

/// The same integers by the name that CUDA's atomics take.
inline Pointer<unsigned long long> for_atomics(Pointer<std::int64_t> at) {
  return {reinterpret_cast<unsigned long long*>(&at.unchecked()), &at.memory()};
}

/// Runs a kernel: its blocks one after another, each block's threads in an order drawn anew.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t shared_bytes, void*, const Arguments&... arguments) {
  using emulate::now;
  const emulate::Running running(name);
  emulate::check_launch(grid, block, shared_bytes);
  if (emulate::listing) {
    emulate::listed.push_back({name, grid, block, shared_bytes});
    return;
  }
  gridDim = grid;
  blockDim = block;
  const auto body = [&] { kernel(Parameters(arguments)...); };
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = now.block_index = dim3(x, y, z);
        now.block = (z * grid.y + y) * grid.x + x;
        emulate::seed = hash64(emulate::seed);
        emulate::Block(block.x * block.y * block.z, shared_bytes, emulate::seed, body)
            .run([&](unsigned t) {
              now.thread = t;
              now.thread_index = dim3(t % block.x, t / block.x % block.y, t / block.x / block.y);
              threadIdx = now.thread_index;
            });
      }
}

}  // namespace cmad
