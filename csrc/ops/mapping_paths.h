#pragma once

#include "ops/mapping_block.h"

namespace cmad {

/// Each in a source file of its own, compiled for its instructions.
const MappingBlocks& mapping_blocks_plain();
#if defined(__x86_64__)
const MappingBlocks& mapping_blocks_avx2();
const MappingBlocks& mapping_blocks_avx512();
const MappingBlocks& mapping_blocks_avx512_bf16();
#if defined(CMAD_AMX)
const MappingBlocks& mapping_blocks_amx_bf16();
/// Whether the system lets this process use AMX, which the processor must have.
bool amx_allowed();
#endif
#endif

}  // namespace cmad
