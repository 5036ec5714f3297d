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
/// H and D are multiples of 64; columns that only fill up are zero. How weights lie is said by
/// `MappingLayout`.
struct MappingDiscrepancy {
  Spread source, target;
  const float* hidden;    // [Ms, H] W1 s of each row
  const float* bias1;     // [H]
  const void* middle;     // W2
  const float* bias2;     // [H]
  const void* triangle;   // R without its last column, and the row that has only that
  const float* column;    // [K] the last column; K <= H rows, a multiple of 64
  const float* matched;   // [Mt, H] W3^T e of each row
  const float* shift;     // [Mt] b3.e of each row
  const float* observed;  // [Mt, D] e of each row
  const void* output;     // W3
  const float* bias3;     // [D]
  float constant;         // square of R's last row, where it has that
  float unit[3];          // what W2, R and W3 are stored in
  std::int64_t P, H, K, D;
  bool round;  // activations to bfloat16, as the weights are
  int path;    // of MappingPath
  // Scratch of a GPU, which takes `chunk` pixels at a time; the CPU's has no elements.
  void* activations;    // [2][1 or 2][chunk][H] float16: of both layers, and what they lack
  float* sums;          // [max(K, D) / 128][chunk]
  std::int32_t* again;  // [1 + chunk] of how many pixels f is formed, and of which
  float* lengths;       // [chunk][2] theirs
  std::int64_t chunk;
  float* psi;  // [P] in [0, 2] out
};

/// Whether `d2` = |u|^2 + |v|^2 - 2 u.v may have lost the digits of its root: it is off by rounding
/// times |h| |W3^T e| / (|f| |e|) = sqrt(terms), where that is above 1: by how much the terms of
/// e.f are larger than their sum may be.
CMAD_BOTH inline bool mapping_lost(double limit, double terms, double d2) {
  return d2 < limit * limit * (terms > 1 ? terms : 1);
}

/// What a caller asks to multiply in. A CPU has no fp16 and takes fp32; a GPU takes fp16 for bf16,
/// which is as fast and has three more digits.
enum class MappingPrecision : int { fp32 = 0, fp16 = 1, bf16 = 2 };

/// Instructions to use: `best` takes what the device offers. All round differently. `mma` sums
/// products of float16 in float32; `mma_split` has of every number its float16 and that of what it
/// lacks, and sums three products: float32, but for 22 binary digits.
enum class MappingPath : int {
  best = 0,
  plain = 1,
  avx2 = 2,
  avx512 = 3,
  avx512_bf16 = 4,
  mma = 5,
  mma_split = 6,
  amx_bf16 = 7
};

/// How weights lie, all multiplied by a power of two, 1 / `unit`. Floats, some rounded to bfloat16,
/// in panels of `width` neurons, [panel][input][width], and pairs of bfloat16 as
/// [panel][input / 2][width][2]; of the triangle only inputs from the panel's first neuron on.
/// float16 as [neuron][input]; the second of two are what the first lack: [2][neuron][input].
enum class MappingNumber : int { float32, bfloat16, bfloat16_pairs, float16, two_float16 };

struct MappingLayout {
  int path;   // the one that is taken; 0 where the device lacks the one asked for
  int width;  // neurons in a panel
  MappingNumber number;
};
template <class Device>
MappingLayout mapping_layout(MappingPath path, MappingPrecision precision);
template <>
MappingLayout mapping_layout<Cpu>(MappingPath path, MappingPrecision precision);
template <>
MappingLayout mapping_layout<Cuda>(MappingPath path, MappingPrecision precision);

template <class Device>
void mapping_discrepancy(const MappingDiscrepancy&, void* stream);
template <>
void mapping_discrepancy<Cpu>(const MappingDiscrepancy&, void* stream);
template <>
void mapping_discrepancy<Cuda>(const MappingDiscrepancy&, void* stream);

}  // namespace cmad
