#pragma once

#include "bind/bind.h"

// csrc/emulate/bind/cuda.h takes this file's place where kernels are compiled for the host.

namespace cmad {

template <>
struct Memory<Cuda> {
  template <class... Is>
  using array = nb::ndarray<Is..., nb::device::cuda>;
  template <class... Is>
  using filled_array = array<Is...>;
};

}  // namespace cmad
