#include "ops/mapping_paths.h"

namespace cmad {

const MappingBlocks& mapping_blocks_avx512() {
  return kMappingBlocks<Floats<16, 12, 2>>;  // 24 sums of 32 registers
}

}  // namespace cmad
