#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "emulate/memory.h"

// What kernels address memory through. For the GPU, Pointer<T> is T* and Shared<T> is T.
//
// An element is a `Ref`, which reads and writes when it is converted or assigned: give values their
// type, `float x = line[i]`, as `auto` would be the reference.

namespace cmad {

template <class T>
class Pointer;

/// One element.
template <class T>
class Ref {
 public:
  Ref(T* at, emulate::Memory* memory) : at_(at), memory_(memory) {}
  Ref(const Ref&) = default;

  operator T() const {
    emulate::aligned(at_);
    memory_->read(at_, sizeof(T));
    return *at_;
  }
  const Ref& operator=(T value) const {
    emulate::aligned(at_);
    memory_->write(at_, &value, sizeof(T));
    return *this;
  }
  const Ref& operator=(const Ref& other) const { return *this = T(other); }
  const Ref& operator+=(T value) const { return *this = T(*this) + value; }
  const Ref& operator-=(T value) const { return *this = T(*this) - value; }
  const Ref& operator*=(T value) const { return *this = T(*this) * value; }
  Pointer<T> operator&() const { return {at_, memory_}; }

 private:
  T* at_;
  emulate::Memory* memory_;
};

/// A pointer that knows its array. Kernels' parameters of this type take the arrays of the op.
template <class T>
class Pointer {
 public:
  using I = std::ptrdiff_t;
  using Value = std::remove_const_t<T>;

  Pointer(T* at) : Pointer(at, emulate::memory_of(at)) {}
  Pointer(T* at, emulate::Memory* memory) : at_(at), memory_(memory) {}
  operator Pointer<const T>() const { return {at_, memory_}; }

  /// A value where T is const.
  decltype(auto) operator[](I i) const {
    if constexpr (std::is_const_v<T>) {
      emulate::aligned(at_ + i);
      memory_->read(at_ + i, sizeof(T));
      return Value(at_[i]);
    } else {
      return Ref<T>(at_ + i, memory_);
    }
  }
  decltype(auto) operator*() const { return (*this)[0]; }
  Pointer operator+(I n) const { return {at_ + n, memory_}; }
  Pointer operator-(I n) const { return {at_ - n, memory_}; }
  Pointer& operator+=(I n) { return *this = *this + n; }
  I operator-(const Pointer& other) const { return at_ - other.at_; }
  bool operator==(const Pointer& other) const { return at_ == other.at_; }
  bool operator!=(const Pointer& other) const { return at_ != other.at_; }
  bool operator<(const Pointer& other) const { return at_ < other.at_; }

  /// For atomics: the element, and nothing noted.
  T& unchecked() const { return *at_; }
  emulate::Memory& memory() const { return *memory_; }

 private:
  T* at_;
  emulate::Memory* memory_;
};

namespace emulate {

/// The memory of a __shared__ variable, which each block finds anew, and poisoned.
template <class T>
class SharedMemory {
 public:
  using Element = std::remove_all_extents_t<T>;

  explicit SharedMemory(Place place) : place_(place) {}
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  Pointer<Element> begin() {
    if (now.launch != launch_ || now.block != block_) {
      memory_ =
          Memory(first(), sizeof(T), sizeof(Element), false, "shared memory, " + said(place_));
      launch_ = now.launch;
      block_ = now.block;
    }
    return {reinterpret_cast<Element*>(first()), &memory_};
  }

 private:
  /// Aligned as an element is, and to nothing more.
  unsigned char* first() { return bytes_ + alignof(Element); }

  alignas(16) unsigned char bytes_[alignof(Element) + sizeof(T)];
  Place place_;
  Memory memory_{nullptr, 0, 1, false, ""};
  std::uint32_t launch_ = 0, block_ = 0;
};

/// A row of a two-dimensional array: another row's elements are outside.
template <class T, std::size_t N>
class Row {
 public:
  explicit Row(Pointer<T> begin) : begin_(begin) {}
  Ref<T> operator[](std::ptrdiff_t i) const {
    if (i < 0 || i >= std::ptrdiff_t(N))
      fault("column " + std::to_string(i) + " of a row of " + std::to_string(N) +
            " in shared memory");
    return begin_[i];
  }
  operator Pointer<T>() const { return begin_; }

 private:
  Pointer<T> begin_;
};

}  // namespace emulate

/// Declared as `__shared__ Shared<float[32]> line;`, `Shared<float[8][33]>` or `Shared<int>`.
template <class T>
class Shared {
 public:
  explicit Shared(const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : memory_({file, line}) {}
  operator T() { return *memory_.begin(); }
  Shared& operator=(T value) {
    *memory_.begin() = value;
    return *this;
  }
  Pointer<T> operator&() { return memory_.begin(); }

 private:
  emulate::SharedMemory<T> memory_;
};

template <class T, std::size_t N>
class Shared<T[N]> {
 public:
  explicit Shared(const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : memory_({file, line}) {}
  Ref<T> operator[](std::ptrdiff_t i) { return memory_.begin()[i]; }
  Pointer<T> operator+(std::ptrdiff_t i) { return memory_.begin() + i; }
  operator Pointer<T>() { return memory_.begin(); }

 private:
  emulate::SharedMemory<T[N]> memory_;
};

template <class T, std::size_t N, std::size_t M>
class Shared<T[N][M]> {
 public:
  explicit Shared(const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : memory_({file, line}) {}
  emulate::Row<T, M> operator[](std::ptrdiff_t i) {
    return emulate::Row<T, M>(memory_.begin() + i * std::ptrdiff_t(M));
  }

 private:
  emulate::SharedMemory<T[N][M]> memory_;
};

}  // namespace cmad
