#pragma once

#include <cstddef>
#include <cstdint>

/// Put before a function that both devices call.
#if defined(__CUDACC__)
#define CMAD_BOTH __host__ __device__
#else
#define CMAD_BOTH
#endif

namespace cmad {

/// Tags that select an implementation: `fps<Cpu>`.
///
/// Every op takes a `void* stream` last. For a GPU it is the stream to launch on; for the CPU it
/// carries the number of threads the op may use, so that torch.set_num_threads() holds here too.
struct Cpu {};
struct Cuda {};

/// Dynamic shared memory that a block has on every GPU from sm_80 on; 8.6, 8.9 and 12.0 have the
/// least. What is declared as `Shared` is taken from the same.
constexpr std::size_t kSharedBytes = 99 * 1024;

inline std::int64_t threads_of(void* stream) {
  const auto n = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(stream));
  return n < 1 ? 1 : n;
}

}  // namespace cmad
