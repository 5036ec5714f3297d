#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "bind/bind.h"
#include "emulate/memory.h"

// Takes the place of csrc/bind/cuda.h, by the order of include directories, where kernels are
// compiled for the host: an array of the CPU, which kernels may use while the op has it.

namespace cmad::emulate {

/// `kFilled`: holds values that the op may read. Else it is poisoned: the op has to write it before
/// it reads it.
template <bool kFilled, class T, class... Is>
class Array : public nanobind::ndarray<T, Is..., nanobind::device::cpu> {
 public:
  using Plain = nanobind::ndarray<T, Is..., nanobind::device::cpu>;

  Array() = default;
  explicit Array(Plain plain) : Plain(std::move(plain)) {
    std::string what = std::is_const_v<T> ? "an input of shape" : "an output of shape";
    for (std::size_t i = 0; i < this->ndim(); ++i)
      what += (i == 0 ? " (" : ", ") + std::to_string(this->shape(i));
    void* data = const_cast<std::remove_const_t<T>*>(this->data());
    registered_ =
        std::make_shared<const Registered>(data, this->nbytes(), sizeof(T), kFilled, what + ")");
  }

 private:
  std::shared_ptr<const Registered> registered_;
};

}  // namespace cmad::emulate

namespace nanobind::detail {

template <bool kFilled, class T, class... Is>
struct type_caster<cmad::emulate::Array<kFilled, T, Is...>> {
  using Array = cmad::emulate::Array<kFilled, T, Is...>;
  using Plain = make_caster<typename Array::Plain>;
  NB_TYPE_CASTER(Array, Plain::Name)

  bool from_python(handle from, std::uint8_t flags, cleanup_list* cleanup) {
    Plain plain;
    if (!plain.from_python(from, flags, cleanup)) return false;
    value = Array(std::move(plain.value));
    return true;
  }
};

}  // namespace nanobind::detail

namespace cmad {

template <>
struct Memory<Cuda> {
  template <class T, class... Is>
  using array = emulate::Array<std::is_const_v<T>, T, Is...>;
  template <class T, class... Is>
  using filled_array = emulate::Array<true, T, Is...>;
};

}  // namespace cmad
