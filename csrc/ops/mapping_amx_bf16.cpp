#include <sys/syscall.h>
#include <unistd.h>

#include "ops/mapping_bf16_pairs.h"
#include "ops/mapping_paths.h"

// Tile registers: 16 rows of 64 bytes each, eight of them. Two hold 32 pixels of 32 inputs, two the
// weights of 32 neurons, which lie as an instruction reads them, four the sums.

namespace cmad {
namespace {

using Tiles = Bfloat16Pairs<32>;

/// Makes all eight tiles whole ones, of this thread, and gives them back.
class Configured {
 public:
  Configured() {
    struct alignas(64) {
      std::uint8_t palette = 1, start = 0, unused[14] = {};
      std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    _tile_loadconfig(&shape);
  }
  ~Configured() { _tile_release(); }
};

template <>
__attribute__((noinline)) void tile<Tiles>(const std::uint16_t* left, std::int64_t stride,
                                           const void* panel, std::int64_t inputs,
                                           Tiles::V (&sums)[32][2]) {
  constexpr int kSums = 128, kPanel = 128;  // bytes from row to row
  auto* sum = reinterpret_cast<char*>(sums);
  const auto* weight = static_cast<const char*>(panel);
  const std::int64_t below = 16 * stride;
  _tile_loadd(0, sum, kSums);
  _tile_loadd(1, sum + 64, kSums);
  _tile_loadd(2, sum + 16 * kSums, kSums);
  _tile_loadd(3, sum + 16 * kSums + 64, kSums);
  for (std::int64_t k = 0; k < inputs; k += 32, weight += 16 * kPanel) {
    _tile_loadd(4, left + k, 2 * stride);
    _tile_loadd(6, weight, kPanel);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, weight + 64, kPanel);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, left + below + k, 2 * stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sum, kSums);
  _tile_stored(1, sum + 64, kSums);
  _tile_stored(2, sum + 16 * kSums, kSums);
  _tile_stored(3, sum + 16 * kSums + 64, kSums);
}

void sums(const MappingDiscrepancy& p, std::int64_t begin, std::int64_t count, float* rows,
          MappingSums* out) {
  const Configured tiles;
  block_sums<Tiles>(p, begin, count, rows, out);
}

void differences(const MappingDiscrepancy& p, const std::int64_t* pixel, const std::int64_t* row,
                 std::int64_t count, const double (*length)[2], float* rows, float* wide,
                 double* out) {
  const Configured tiles;
  block_differences<Tiles>(p, pixel, row, count, length, rows, wide, out);
}

constexpr MappingBlocks kBlocks{kBlockPixels<Tiles>, sums, differences};

}  // namespace

const MappingBlocks& mapping_blocks_amx_bf16() { return kBlocks; }

bool amx_allowed() {
  // A process must ask for the tiles' state once, for all its threads; the numbers are Linux's.
  static const bool allowed = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return allowed;
}

}  // namespace cmad
