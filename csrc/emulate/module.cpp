#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bind/cuda_ops.h"
#include "core/launch.cuh"

NB_MODULE(_cuda_emulated, m) {
  using namespace nanobind::literals;
  namespace emulate = cmad::emulate;
  m.doc() =
      "The kernels of _cuda run by the emulator (csrc/emulate), on the CPU's tensors; for tests.";
  cmad::bind_cuda_ops(m);
  m.def("_seed", [](std::uint64_t seed) { emulate::seed = seed; }, "seed"_a);
  m.def("_list", [](bool on) { emulate::listing = on; }, "on"_a);
  // Of each launch while listing: kernel, blocks, threads of a block, bytes of dynamic shared
  // memory.
  m.def("_launches", [] {
    std::vector<std::tuple<std::string, std::uint64_t, unsigned, std::size_t>> all;
    for (const emulate::Launch& launch : std::exchange(emulate::listed, {}))
      all.emplace_back(launch.kernel, std::uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z,
                       launch.block.x * launch.block.y * launch.block.z, launch.shared_bytes);
    return all;
  });
}
