#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Rows of a low-resolution map, spread to pixels by sparse weights (compressed rows).
struct Spread {
  const std::int64_t* start;  // [P + 1] ascending
  const std::int32_t* index;  // [E] rows of the map
  const float* weight;        // [E]
};

/// |e / |e| - f / |f||, the Euclidean distance of normalised features, at each pixel: e observed,
/// f = W3 h + b3 predicted, h = gelu(W2 gelu(W1 s + b1) + b2), s the source modality's features.
///
/// Neither s, e nor f is formed at the pixels. The first layer is applied before the interpolation,
/// and of the last one only two numbers are needed: |f| = |R (h, 1)|, R the triangular factor of
/// (W3, b3), and e.f = (W3^T e).h + b3.e. Where the distance is so small that
/// |u|^2 + |v|^2 - 2 u.v would lose it, f is formed after all, and the differences are squared.
///
/// H and D are multiples of 64; columns that only fill up are zero. Weights lie in panels of
/// `width` neurons, [panel][input][width] (of the triangle only inputs from the panel's first
/// neuron on), as floats; or, for `pairs`, as bfloat16, [panel][input / 2][width][2].
struct MappingDiscrepancy {
  Spread source, target;
  const float* hidden;    // [Ms, H] W1 s of each row
  const float* bias1;     // [H]
  const void* middle;     // W2 in panels
  const float* bias2;     // [H]
  const void* triangle;   // R without its last column, and the row that has only that
  const float* column;    // [K] the last column; K <= H rows, a multiple of 64
  const float* matched;   // [Mt, H] W3^T e of each row
  const float* shift;     // [Mt] b3.e of each row
  const float* observed;  // [Mt, D] e of each row
  const void* output;     // W3 in panels
  const float* bias3;     // [D]
  float constant;         // square of R's last row, where it has that
  std::int64_t P, H, K, D;
  bool round;  // activations to bfloat16, as the weights are
  int path;    // of MappingPath
  float* psi;  // [P] in [0, 2] out
};

/// Instructions to use: `best` takes what CPUID offers. All round differently.
enum class MappingPath : int { best = 0, plain = 1, avx2 = 2, avx512 = 3, avx512_bf16 = 4 };

/// How weights must be laid out for a path.
struct MappingLayout {
  int path;   // the one that is taken; 0 where this machine lacks the one asked for
  int width;  // neurons in a panel
  bool pairs;
};
MappingLayout mapping_layout(MappingPath path, bool bfloat16);

template <class Device>
void mapping_discrepancy(const MappingDiscrepancy&, void* stream);
template <>
void mapping_discrepancy<Cpu>(const MappingDiscrepancy&, void* stream);

}  // namespace cmad
