#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// The order of equally far points of a cloud: by index, or that of the published kernel's tree
/// reduction. Ranks are below 2^31, as are the points of a cloud.
class FpsOrder {
 public:
  CMAD_BOTH FpsOrder(std::int64_t N, bool published) {
    if (!published) return;
    while (bits_ < 9 && (std::int64_t(2) << bits_) <= N) ++bits_;
    shift_ = 0;
    while (N >> bits_ >> shift_ > 0) ++shift_;
  }
  CMAD_BOTH std::int32_t rank(std::int64_t n) const {
    return std::int32_t(reversed(n) << shift_ | n >> bits_);
  }
  CMAD_BOTH std::int64_t point(std::int64_t rank) const {
    return (rank & ((std::int64_t(1) << shift_) - 1)) << bits_ | reversed(rank >> shift_);
  }

 private:
  CMAD_BOTH std::int64_t reversed(std::int64_t n) const {
    std::int64_t result = 0;
    for (int b = 0; b < bits_; ++b) result = result << 1 | (n >> b & 1);
    return result;
  }
  int bits_ = 0;    // of a slot in a block
  int shift_ = 31;  // bits of a point's number in its slot
};

}  // namespace cmad
