#include "ops/mapping_paths.h"

namespace cmad {

const MappingBlocks& mapping_blocks_avx2() {
  return kMappingBlocks<Floats<8, 6, 2>>;  // 12 sums of 16 registers
}

}  // namespace cmad
