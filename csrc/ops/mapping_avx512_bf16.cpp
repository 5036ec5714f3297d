#include "ops/mapping_bf16_pairs.h"
#include "ops/mapping_paths.h"

namespace cmad {

const MappingBlocks& mapping_blocks_avx512_bf16() { return kMappingBlocks<Bfloat16Pairs<12>>; }

}  // namespace cmad
