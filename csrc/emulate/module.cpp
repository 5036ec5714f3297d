#include "bind/cuda_ops.h"
#include "core/launch.cuh"

NB_MODULE(_cuda_emulated, m) {
  using namespace nanobind::literals;
  m.doc() =
      "The kernels of _cuda run by the emulator (csrc/emulate), on the CPU's tensors; for tests.";
  cmad::bind_cuda_ops(m);
  m.def("_seed", [](std::uint64_t seed) { cmad::emulate::seed = seed; }, "seed"_a);
}
