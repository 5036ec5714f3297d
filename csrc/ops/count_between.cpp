#include "ops/count_between.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/parallel.h"

// A score is looked up in a table. Its leading bits, sign and exponent and at most three more, name
// a cell, within which numbers are near to equally dense; a cell with k levels is divided into some
// 8 k buckets of equal width, and a bucket knows its first level. Most hold none or one, so nearly
// every score is placed by two look-ups and a comparison; where levels are very many, by a few. No
// sort of the scores is needed.

namespace cmad {
namespace {

constexpr std::int64_t kBlock = std::int64_t(1) << 22, kLargest = std::int64_t(1) << 31;

template <class T>
using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

/// An integer that orders as the number does; -0 and 0 are one.
template <class T>
Key<T> key_of(T value) {
  constexpr Key<T> kSign = Key<T>(1) << (8 * sizeof(T) - 1);
  const T plain = value + T(0);
  Key<T> bits;
  std::memcpy(&bits, &plain, sizeof bits);
  return bits & kSign ? Key<T>(~bits) : Key<T>(bits | kSign);
}

/// What is known of an interval. Without branches, which would be taken at random.
template <class T>
struct Slot {
  T lowest = std::numeric_limits<T>::infinity();
  std::uint32_t count = 0, ties = 0;

  void add(T score, std::uint32_t times) {
    count += times;
    ties = (score < lowest ? 0 : ties) + (score <= lowest ? times : 0);
    lowest = std::min(lowest, score);
  }
};

template <class T>
class Levels {
 public:
  Levels(const T* level, std::int64_t M) : level_(level, level + M), cells_(kCells) {
    level_.push_back(std::numeric_limits<T>::infinity());  // that a look behind the last may read
    // Beyond that many levels a finer table would cost more in memory than it saves.
    const std::int64_t per_level = M < (1 << 18) ? 8 : 1;
    first_.reserve(std::size_t(2 * per_level * M + 2 * kCells));
    std::int64_t m = 0;
    for (Key<T> c = 0; c < kCells; ++c) {
      std::int64_t end = m;
      while (end < M && key_of(level[end]) >> kShift == c) ++end;
      const std::int64_t buckets = per_level * (end - m);
      int shift = kShift;
      while (shift > 0 && std::int64_t(1) << (kShift - shift) < buckets) --shift;
      cells_[c] = {first_.size(), shift};
      for (Key<T> b = 0; b < Key<T>(1) << (kShift - shift); ++b) {
        first_.push_back(std::int32_t(m));
        while (m < end && (key_of(level[m]) & kRest) >> shift == b) ++m;
      }
    }
    first_.push_back(std::int32_t(M));
  }

  /// The levels that the score is among: not below the first, below the last.
  std::pair<std::int32_t, std::int32_t> among(T score) const {
    const Key<T> key = key_of(score);
    const Cell& cell = cells_[key >> kShift];
    const std::size_t bucket = cell.first + std::size_t((key & kRest) >> cell.shift);
    return {first_[bucket], first_[bucket + 1]};
  }

  /// Of these, the number that are not above the score.
  std::int64_t not_above(T score, std::int64_t from, std::int64_t to) const {
    while (to - from > 1) {  // seldom
      const std::int64_t middle = from + (to - from) / 2;
      if (level_[middle] <= score)
        from = middle;
      else
        to = middle;
    }
    return from + std::int64_t((from < to) & (level_[from] <= score));
  }

 private:
  struct Cell {
    std::size_t first;  // bucket
    int shift;          // of a key's remaining bits, to its bucket
  };
  static constexpr Key<T> kCells = 1 << 12;
  static constexpr int kShift = int(8 * sizeof(T)) - 12;
  static constexpr Key<T> kRest = (Key<T>(1) << kShift) - 1;

  std::vector<T> level_;
  std::vector<Cell> cells_;
  std::vector<std::int32_t> first_;  // of each bucket: the first level in it or behind it
};

/// Runs of one score, placed some at a time: their look-ups do not wait for each other.
template <class T>
class Block {
 public:
  Block(const Levels<T>& levels, std::vector<Slot<T>>& slots) : levels_(levels), slots_(slots) {}

  void add(T score, std::uint32_t times) {
    score_[held_] = score;
    times_[held_] = times;
    if (++held_ == kSize) flush();
  }
  void flush() {
    for (int i = 0; i < held_; ++i) {
      const auto among = levels_.among(score_[i]);
      from_[i] = among.first;
      to_[i] = among.second;
    }
    for (int i = 0; i < held_; ++i) at_[i] = levels_.not_above(score_[i], from_[i], to_[i]);
    for (int i = 0; i < held_; ++i) slots_[at_[i]].add(score_[i], times_[i]);
    held_ = 0;
  }

 private:
  static constexpr int kSize = 128;
  const Levels<T>& levels_;
  std::vector<Slot<T>>& slots_;
  T score_[kSize];
  std::uint32_t times_[kSize];
  std::int32_t from_[kSize], to_[kSize];
  std::int64_t at_[kSize];
  int held_ = 0;
};

/// Counts scores begin to end, fewer than 2^32, into slots.
template <class T>
void count_range(const CountBetween<T>& p, const Levels<T>& levels, std::int64_t begin,
                 std::int64_t end, std::vector<Slot<T>>& slots) {
  Block<T> block(levels, slots);
  // Maps hold long runs of one score, such as the background's 0: these are added as one.
  T run = T(0);
  std::uint32_t length = 0;
  for (std::int64_t n = begin; n < end; ++n) {
    if (p.skip[n]) continue;
    if (p.score[n] != run) {
      if (length > 0) block.add(run, length);
      run = p.score[n];
      length = 0;
    }
    ++length;
  }
  if (length > 0) block.add(run, length);
  block.flush();
}

template <class T>
void count_scores(const CountBetween<T>& p, void* stream) {
  // Slots are added up in 64 bits after so many scores, so that their own counts stay small; of
  // very many levels after more, for a block costs a pass over the levels.
  const std::int64_t block = std::clamp(4 * p.M, kBlock, kLargest);
  const Levels<T> interval(p.level, p.M);
  std::mutex one_at_a_time;
  auto part = [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += block) {
      std::vector<Slot<T>> slots(p.M + 1);
      count_range(p, interval, begin, std::min(end, begin + block), slots);
      const std::lock_guard<std::mutex> lock(one_at_a_time);
      for (std::int64_t m = 0; m <= p.M; ++m) {
        const Slot<T>& s = slots[m];
        if (s.count == 0) continue;
        if (p.count[m] == 0 || s.lowest < p.lowest[m]) {
          p.lowest[m] = s.lowest;
          p.ties[m] = 0;
        }
        if (s.lowest == p.lowest[m]) p.ties[m] += s.ties;
        p.count[m] += s.count;
      }
    }
  };
  parallel_for(p.N, std::max<std::int64_t>(1 << 18, 4 * p.M), stream, part);
}

}  // namespace

template <>
void count_between<Cpu, float>(const CountBetween<float>& p, void* stream) {
  count_scores(p, stream);
}
template <>
void count_between<Cpu, double>(const CountBetween<double>& p, void* stream) {
  count_scores(p, stream);
}

}  // namespace cmad
