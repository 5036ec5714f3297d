#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/device.h"

// What kernels need besides CUDA. csrc/emulate/core/launch.cuh takes this file's place where they
// are compiled for the host, and finds accesses outside of arrays and without a barrier: so arrays
// are `Pointer<T>` in kernels and `Shared<T[N]>` in shared memory.

namespace cmad {

template <class T>
using Pointer = T*;

/// Declared as `__shared__ Shared<float[32]> line;`, `Shared<float[8][33]>` or `Shared<int>`.
template <class T>
using Shared = T;

/// Dynamic shared memory from a byte on.
template <class T>
__device__ inline T* dynamic_shared(std::size_t byte = 0) {
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes + byte);
}

/// Reads an element that other threads update by atomics: not from a cache of its own.
template <class T>
__device__ inline T atomic_load(const T* at) {
  return *static_cast<const volatile T*>(at);
}

/// The same integers by the name that CUDA's atomics take.
__device__ inline unsigned long long* for_atomics(std::int64_t* at) {
  return reinterpret_cast<unsigned long long*>(at);
}

/// Starts a kernel; `name` is for the message where it cannot. At most `kSharedBytes` of dynamic
/// shared memory.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t shared_bytes, void* stream, const Arguments&... arguments) {
  if (shared_bytes > kSharedBytes)
    throw std::runtime_error(std::string(name) + ": " + std::to_string(shared_bytes) +
                             " bytes of dynamic shared memory");
  // Above 48 KiB, of which the arrays declared as `Shared` are a part, a kernel has to ask.
  cudaError_t error = cudaSuccess;
  if (shared_bytes > 32 * 1024)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 int(shared_bytes));
  if (error == cudaSuccess) {
    kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream)>>>(
        Parameters(arguments)...);
    error = cudaGetLastError();
  }
  if (error != cudaSuccess)
    throw std::runtime_error(std::string(name) + ": " + cudaGetErrorString(error));
}

}  // namespace cmad
