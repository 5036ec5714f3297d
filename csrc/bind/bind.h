#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>

#include "core/device.h"

namespace cmad {

namespace nb = nanobind;
using namespace nb::literals;

/// A device's arrays, for nanobind.
template <class Device>
struct Memory;
template <>
struct Memory<Cpu> {
  template <class... Is>
  using array = nb::ndarray<Is..., nb::device::cpu>;
  template <class... Is>
  using filled_array = array<Is...>;
};

/// Contiguous arrays of one device; -1 is any size. Python has checked sizes and allocated outputs.
template <class T, class Device, int... Shape>
using In = typename Memory<Device>::template array<const T, nb::shape<Shape...>, nb::c_contig>;
template <class T, class Device, int... Shape>
using Out = typename Memory<Device>::template array<T, nb::shape<Shape...>, nb::c_contig>;

/// An output that holds values already.
template <class T, class Device, int... Shape>
using InOut = typename Memory<Device>::template filled_array<T, nb::shape<Shape...>, nb::c_contig>;

template <class Array>
std::int64_t size(const Array& array, int axis) {
  return std::int64_t(array.shape(axis));
}

inline void* stream_of(std::uintptr_t stream) { return reinterpret_cast<void*>(stream); }

}  // namespace cmad
