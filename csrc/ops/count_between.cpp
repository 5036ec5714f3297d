#include "ops/count_between.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <type_traits>
#include <vector>

#include "core/parallel.h"
#include "core/simd.h"

// A score is looked up in a table. Its leading bits, sign and exponent and at most three more, name
// a cell, within which numbers are near to equally dense; a cell with k levels is divided into some
// 2 k buckets of equal width, and a bucket knows its first level. Most hold none or one, so nearly
// every score is placed by two look-ups and a comparison; where levels are very many, by a few. No
// sort of the scores is needed.

namespace cmad {
namespace {

constexpr std::int64_t kBatch = 256;  // scores looked up together: none waits for another
constexpr std::uint64_t kAllEight = 0x0101010101010101u;  // flags
constexpr std::int64_t kMost = std::int64_t(1) << 31;     // scores that a Counts takes

template <class T>
using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

/// An integer that orders as the number does; -0 and 0 are one.
template <class T>
inline Key<T> key_of(T value) {
  constexpr Key<T> kSign = Key<T>(1) << (8 * sizeof(T) - 1);
  const T plain = value + T(0);
  Key<T> bits;
  std::memcpy(&bits, &plain, sizeof bits);
  return bits ^ (Key<T>(-Key<T>(bits >> (8 * sizeof(T) - 1))) | kSign);
}

template <class T>
constexpr Key<T> kCells = 1 << 12;
template <class T>
constexpr int kShift = int(8 * sizeof(T)) - 12;
template <class T>
constexpr Key<T> kRest = (Key<T>(1) << kShift<T>)-1;

struct Cell {
  std::int32_t first;  // bucket
  std::int32_t shift;  // of a key's remaining bits, to its bucket
};
/// A stretch of numbers, with the levels from `first` on.
template <class T>
struct Bucket {
  T level;  // its only one, or the next above, at last infinity; NaN if it holds several
  std::int32_t first;
};

// Two short loops without a branch, which the compiler turns into vectors. Buckets and places are
// numbers of 32 bits: M is below 2^29.

template <class T>
CMAD_SIMD void buckets_of(const Cell* __restrict cells, const T* __restrict score,
                          std::int64_t count, std::int32_t* __restrict bucket) {
  for (std::int64_t i = 0; i < count; ++i) {
    const Key<T> key = key_of(score[i]);
    const Cell& cell = cells[std::int32_t(key >> kShift<T>)];
    bucket[i] = cell.first + std::int32_t((key & kRest<T>) >> cell.shift);
  }
}

/// What `Levels::find` says, but -1 for a score whose bucket holds several levels.
template <class T>
CMAD_SIMD void places_of(const Bucket<T>* __restrict buckets, const std::int32_t* __restrict bucket,
                         const T* __restrict score, std::int64_t count,
                         std::int32_t* __restrict place) {
  for (std::int64_t i = 0; i < count; ++i) {
    const T level = buckets[bucket[i]].level;
    const std::int32_t first = buckets[bucket[i]].first;
    const std::int32_t at =
        2 * (first + std::int32_t(level <= score[i])) + std::int32_t(level == score[i]);
    place[i] = level == level ? at : -1;  // not NaN
  }
}

template <class T>
class Levels {
 public:
  Levels(const T* level, std::int64_t M) : level_(level), cells_(kCells<T>) {
    // Beyond that many levels a finer table would cost more in memory than it saves.
    const std::int64_t per_level = M < (1 << 18) ? 2 : 1;
    buckets_.reserve(std::size_t(2 * per_level * M + 2 * kCells<T>));
    std::int64_t m = 0;
    for (Key<T> c = 0; c < kCells<T>; ++c) {
      std::int64_t end = m;
      while (end < M && key_of(level[end]) >> kShift<T> == c) ++end;
      const std::int64_t count = per_level * (end - m);
      int shift = kShift<T>;
      while (shift > 0 && std::int64_t(1) << (kShift<T> - shift) < count) --shift;
      cells_[c] = {std::int32_t(buckets_.size()), shift};
      for (Key<T> b = 0; b < Key<T>(1) << (kShift<T> - shift); ++b) {
        const std::int64_t first = m;
        while (m < end && (key_of(level[m]) & kRest<T>) >> shift == b) ++m;
        const bool several = m > first + 1;
        const T next = first < M ? level[first] : std::numeric_limits<T>::infinity();
        buckets_.push_back(
            {several ? std::numeric_limits<T>::quiet_NaN() : next, std::int32_t(first)});
      }
    }
    buckets_.push_back({0, std::int32_t(M)});
  }

  /// Writes for each score twice its interval, and one more if it equals the level of its begin.
  /// An infinite score above all levels is in an interval M + 1 of its own.
  void find(const T* score, std::int64_t count, std::int32_t* place) const {
    std::int32_t bucket[kBatch], several[kBatch];
    buckets_of(cells_.data(), score, count, bucket);
    places_of(buckets_.data(), bucket, score, count, place);
    std::int64_t left = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      several[left] = std::int32_t(i);
      left += place[i] < 0;
    }
    for (std::int64_t s = 0; s < left; ++s) {
      const std::int32_t i = several[s];
      const Bucket<T>* b = &buckets_[bucket[i]];
      const T *from = level_ + b[0].first, *to = level_ + b[1].first;
      const T* above = std::upper_bound(from, to, score[i]);
      place[i] = 2 * std::int32_t(above - level_);
      place[i] += above > from && above[-1] == score[i];
    }
  }

 private:
  const T* level_;
  std::vector<Cell> cells_;
  std::vector<Bucket<T>> buckets_;
};

/// Flags the scores that are counted and begin a run: are the first, differ from the one before, or
/// come after one that is not counted.
template <class T>
CMAD_SIMD void flag_runs(const T* __restrict score, const std::uint8_t* __restrict skip,
                         std::int64_t count, std::uint8_t* __restrict flag) {
  flag[0] = skip[0] ^ 1;
  for (std::int64_t i = 1; i < count; ++i)
    flag[i] = std::uint8_t((score[i] != score[i - 1]) | skip[i - 1]) & std::uint8_t(skip[i] ^ 1);
}

/// Counts of at most kMost scores.
template <class T>
class Counts {
 public:
  Counts(const Levels<T>& levels, std::int64_t M) : levels_(levels), times_(2 * M + 4) {}

  void add(const T* score, const bool* skip, std::int64_t N) {
    for (std::int64_t n = 0; n < N; n += kBatch)
      add_batch(score + n, skip + n, std::min(kBatch, N - n));
  }

  void add_to(const CountBetween<T>& p) const {
    for (std::int64_t m = 0; m <= p.M; ++m) {
      p.count[m] += std::int64_t(times_[2 * m]) + times_[2 * m + 1];
      if (m > 0) p.tied[m - 1] += times_[2 * m + 1];
    }
    p.count[p.M] += std::int64_t(times_[2 * p.M + 2]) + times_[2 * p.M + 3];
  }

 private:
  /// Maps hold runs of one score, such as the background's 0: each is looked up once.
  void add_batch(const T* score, const bool* skip, std::int64_t count) {
    std::uint8_t flag[kBatch];
    flag_runs(score, reinterpret_cast<const std::uint8_t*>(skip), count, flag);
    T run[kBatch + 1];
    std::int32_t before[kBatch + 1], place[kBatch];  // before a run: scores counted
    std::int32_t seen = 0;
    std::int64_t runs = 0;
    for (std::int64_t i = 0; i < count; i += 8) {
      std::uint64_t any[2] = {1, 1};
      if (i + 8 <= count) {
        std::memcpy(&any[0], flag + i, 8);
        std::memcpy(&any[1], skip + i, 8);
      }
      if ((any[0] | any[1]) == 0) {
        seen += 8;
        continue;
      }
      if (any[0] == kAllEight) {
        for (int j = 0; j < 8; ++j) {
          run[runs + j] = score[i + j];
          before[runs + j] = seen + j;
        }
        runs += 8;
        seen += 8;
        continue;
      }
      for (std::int64_t j = i; j < std::min(i + 8, count); ++j) {
        run[runs] = score[j];
        before[runs] = seen;
        runs += flag[j];
        seen += !skip[j];
      }
    }
    before[runs] = seen;
    levels_.find(run, runs, place);
    for (std::int64_t r = 0; r < runs; ++r)
      times_[place[r]] += std::uint32_t(before[r + 1] - before[r]);
  }

  const Levels<T>& levels_;
  std::vector<std::uint32_t> times_;  // of each place that Levels finds
};

template <class T>
void count_scores(const CountBetween<T>& p, void* stream) {
  const Levels<T> levels(p.level, p.M);
  std::mutex one_at_a_time;
  auto part = [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += kMost) {
      Counts<T> counts(levels, p.M);
      counts.add(p.score + begin, p.skip + begin, std::min(end - begin, kMost));
      const std::lock_guard<std::mutex> lock(one_at_a_time);
      counts.add_to(p);
    }
  };
  // Each range costs a pass over the levels.
  parallel_for(p.N, std::max<std::int64_t>(1 << 18, 8 * p.M), stream, part);
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
