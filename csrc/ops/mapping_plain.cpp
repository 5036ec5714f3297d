#include "ops/mapping_paths.h"

// The vectors that every machine of an architecture has.

namespace cmad {

const MappingBlocks& mapping_blocks_plain() {
#if defined(__aarch64__)
  using S = Floats<4, 6, 4>;  // 24 sums of 32 registers
#else
  using S = Floats<4, 2, 4>;  // 8 sums of 16 registers
#endif
  return kMappingBlocks<S>;
}

}  // namespace cmad
