#pragma once

#include <immintrin.h>

#include "ops/mapping_block.h"

// Local to the file that includes it, as mapping_block.h.

namespace cmad {
namespace {

/// Activations and weights as bfloat16, two inputs to an instruction; sums as floats.
template <int Rows>
struct Bfloat16Pairs : Floats<16, Rows, 2> {
  using Base = Floats<16, Rows, 2>;
  using typename Base::V;
  static constexpr int step = 2;
  using Element = std::uint16_t;

  static __m512bh pairs(__m512i bits) { return (__m512bh)bits; }
  static V weights(const void* panel, std::ptrdiff_t at) {
    return Base::load(static_cast<const float*>(panel) + at);  // the bits of two inputs
  }
  static V activation(const Element* row, std::ptrdiff_t k) {
    float bits;
    __builtin_memcpy(&bits, row + k, sizeof bits);
    return (V)_mm512_set1_ps(bits);
  }
  static V add(V sum, V weight, V activation) {
    return (V)_mm512_dpbf16_ps((__m512)sum, pairs((__m512i)weight), pairs((__m512i)activation));
  }
  static V read(const Element* row) {
    typedef Element Halves __attribute__((vector_size(32)));
    typedef std::uint32_t Words __attribute__((vector_size(64)));
    Halves bits;
    __builtin_memcpy(&bits, row, sizeof bits);
    return (V)(__builtin_convertvector(bits, Words) << 16);
  }
  static void keep(Element* row, V v, bool) {
    const __m256i bits = (__m256i)_mm512_cvtneps_pbh((__m512)v);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row), bits);
  }
};

}  // namespace
}  // namespace cmad
