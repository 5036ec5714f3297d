#include "ops/count_between.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <type_traits>
#include <vector>

#include "core/parallel.h"

// A score is looked up in a table. Its leading bits, sign and exponent and at most three more, name
// a cell, within which numbers are near to equally dense; a cell with k levels is divided into some
// 4 k buckets of equal width, and a bucket knows its first level. Most hold none or one, so nearly
// every score is placed by two look-ups and a comparison. No sort of the scores is needed.

namespace cmad {
namespace {

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

template <class T>
struct Slot {
  T lowest;
  std::int64_t count, ties;

  void add(T score) {
    ++count;
    if (ties == 0 || score < lowest) {
      lowest = score;
      ties = 1;
    } else {
      ties += score == lowest;
    }
  }
};

template <class T>
class Levels {
 public:
  Levels(const T* level, std::int64_t M) : level_(level), lowest_(level[0]), cells_(kCells) {
    std::int64_t m = 0;
    for (Key<T> c = 0; c < kCells; ++c) {
      std::int64_t end = m;
      while (end < M && key_of(level[end]) >> kShift == c) ++end;
      const std::int64_t buckets = 4 * (end - m);
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

  /// Levels that are not above the score.
  std::int64_t operator()(T score) const {
    if (score < lowest_) return 0;
    const Key<T> key = key_of(score);
    const Cell& cell = cells_[key >> kShift];
    const std::size_t bucket = cell.first + std::size_t((key & kRest) >> cell.shift);
    const T* from = level_ + first_[bucket];
    const T* to = level_ + first_[bucket + 1];
    while (to - from > 8) {
      const T* middle = from + (to - from) / 2;
      if (*middle <= score)
        from = middle + 1;
      else
        to = middle;
    }
    while (from < to && *from <= score) ++from;
    return from - level_;
  }

 private:
  struct Cell {
    std::size_t first;  // bucket
    int shift;          // of a key's remaining bits, to its bucket
  };
  static constexpr Key<T> kCells = 1 << 12;
  static constexpr int kShift = int(8 * sizeof(T)) - 12;
  static constexpr Key<T> kRest = (Key<T>(1) << kShift) - 1;

  const T* level_;
  T lowest_;
  std::vector<Cell> cells_;
  std::vector<std::int32_t> first_;  // of each bucket: the first level in it or behind it
};

template <class T>
void count_scores(const CountBetween<T>& p, void* stream) {
  const Levels<T> interval(p.level, p.M);
  std::mutex one_at_a_time;
  parallel_for(p.N, std::max<std::int64_t>(1 << 18, 4 * p.M), stream,
               [&](std::int64_t begin, std::int64_t end) {
                 std::vector<Slot<T>> slots(p.M + 1, Slot<T>{T(0), 0, 0});
                 for (std::int64_t n = begin; n < end; ++n)
                   if (!p.skip[n]) slots[interval(p.score[n])].add(p.score[n]);
                 const std::lock_guard<std::mutex> lock(one_at_a_time);
                 for (std::int64_t m = 0; m <= p.M; ++m) {
                   const Slot<T>& s = slots[m];
                   if (s.count == 0) continue;
                   const bool lower = p.count[m] == 0 || s.lowest < p.lowest[m];
                   if (lower)
                     p.ties[m] = s.ties;
                   else if (s.lowest == p.lowest[m])
                     p.ties[m] += s.ties;
                   if (lower) p.lowest[m] = s.lowest;
                   p.count[m] += s.count;
                 }
               });
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
