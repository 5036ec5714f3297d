#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "ops/knn.h"

namespace cmad {

/// A row in the embedding: code[c] * step, and the length outside of the basis.
struct Encoded {
  double norm2;   // |code * step|^2 + rest^2; not finite or huge: the row's bounds are unusable
  double radius;  // how far the true image of the row may be
  double rest;
  double step;
  std::int64_t sum;  // of the codes
};

/// Rows this long (after scaling) are measured always: their squares come near float's range.
constexpr double kLongest2 = 1e30;

/// Computes `Encoded` and the codes, row by row.
class Encoder {
 public:
  explicit Encoder(const Embedding& into)
      : into_(into), z_(into.D + kChunk), p_(into.P + kChunk), part_(into.P), buffer_(into.D) {}

  Encoded operator()(const void* row, Number number, std::int8_t* code);

 private:
  static constexpr std::int64_t kChunk = 64;  // entries added up in float before they go to double

  const Embedding& into_;
  std::vector<float> z_;
  std::vector<double> p_;
  std::vector<float> part_, buffer_;
};

}  // namespace cmad
