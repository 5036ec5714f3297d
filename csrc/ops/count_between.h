#pragma once

#include <cstdint>

#include "core/device.h"

namespace cmad {

/// Counts scores between levels. Interval m holds the scores from level m - 1 up to, but without,
/// level m; interval 0 those below all levels, interval M the others.
/// Adds to what the outputs hold, so that scores may come in pieces.
template <class T>
struct CountBetween {
  const T* score;       // [N] not NaN
  const bool* skip;     // [N] true: not counted
  const T* level;       // [M] ascending, distinct, not NaN
  std::int64_t* count;  // [M + 1] scores in the interval
  std::int64_t* tied;   // [M] scores equal to the level
  std::int64_t N, M;    // M below 2^29
};
template <class Device, class T>
void count_between(const CountBetween<T>&, void* stream);

}  // namespace cmad
