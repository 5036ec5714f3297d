#pragma once

#include "ops/mapping_block.h"

namespace cmad {

/// Each in a source file of its own, compiled for its instructions.
const MappingBlocks& mapping_blocks_plain();
#if defined(__x86_64__)
const MappingBlocks& mapping_blocks_avx2();
const MappingBlocks& mapping_blocks_avx512();
const MappingBlocks& mapping_blocks_avx512_bf16();
#endif

}  // namespace cmad
