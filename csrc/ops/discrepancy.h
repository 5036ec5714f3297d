#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Distances of corresponding rows after dividing each by max(its length, 1e-12):
/// Euclidean |a/|a| - b/|b||, in [0, 2], and cosine 1 - a.b / (|a||b|), in [0, 2].
struct Discrepancy {
  const float* a;    // [P, D]
  const float* b;    // [P, D]
  float* euclidean;  // [P] out
  float* cosine;     // [P] out
  std::int64_t P, D;
};
template <class Device>
void discrepancy(const Discrepancy&, void* stream);
template <>
void discrepancy<Cpu>(const Discrepancy&, void* stream);
template <>
void discrepancy<Cuda>(const Discrepancy&, void* stream);

}  // namespace cmad
