#include "ops/coreset.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "core/simd.h"

// Lazy evaluation. A row's bound, its distance to some of the picks, is at least its distance to
// all. Rows with bounds above a level are brought up to date with all picks and become active; as
// long as the farthest active row is above the level, no other row can be farther, so picks are
// made among the active rows alone, which stay in the cache. Then the level is lowered.

namespace cmad {
namespace {

constexpr int kLanes = 16;
constexpr int kTogether = 4;         // picks measured with one reading of a row
constexpr std::int64_t kPicks = 32;  // of a row's missing picks, between two looks at the level
constexpr float kPicked = -std::numeric_limits<float>::infinity();

/// Lowers `bound` to the least distance of a row to n picks.
CMAD_SIMD float least_distance2(const float* __restrict x, const float* const* pick, std::int64_t n,
                                std::int64_t D, float bound) {
  const std::int64_t whole = D / kLanes * kLanes;
  for (std::int64_t j = 0; j < n; j += kTogether) {
    // The last pick again where fewer are left: measuring it twice changes nothing.
    const float* a = pick[j];
    const float* b = pick[std::min(j + 1, n - 1)];
    const float* c = pick[std::min(j + 2, n - 1)];
    const float* e = pick[std::min(j + 3, n - 1)];
    float lane[kTogether][kLanes] = {};
    for (std::int64_t d = 0; d < whole; d += kLanes)
      for (int i = 0; i < kLanes; ++i) {
        const float at = x[d + i];
        const float da = at - a[d + i], db = at - b[d + i], dc = at - c[d + i], de = at - e[d + i];
        lane[0][i] += da * da;
        lane[1][i] += db * db;
        lane[2][i] += dc * dc;
        lane[3][i] += de * de;
      }
    for (std::int64_t d = whole; d < D; ++d) {
      const float at = x[d];
      const float da = at - a[d], db = at - b[d], dc = at - c[d], de = at - e[d];
      lane[0][d - whole] += da * da;
      lane[1][d - whole] += db * db;
      lane[2][d - whole] += dc * dc;
      lane[3][d - whole] += de * de;
    }
    for (int t = 0; t < kTogether; ++t) {
      for (int half = kLanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) lane[t][i] += lane[t][i + half];
      bound = std::min(bound, std::isnan(lane[t][0]) ? 0.0f : lane[t][0]);
    }
  }
  return bound;
}

/// The same of one pick.
CMAD_SIMD float least_distance2(const float* __restrict x, const float* __restrict pick,
                                std::int64_t D, float bound) {
  const std::int64_t whole = D / kLanes * kLanes;
  float lane[kLanes] = {};
  for (std::int64_t d = 0; d < whole; d += kLanes)
    for (int i = 0; i < kLanes; ++i) {
      const float e = x[d + i] - pick[d + i];
      lane[i] += e * e;
    }
  for (std::int64_t d = whole; d < D; ++d) {
    const float e = x[d] - pick[d];
    lane[d - whole] += e * e;
  }
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return std::min(bound, std::isnan(lane[0]) ? 0.0f : lane[0]);
}

CMAD_SIMD float largest(const float* bound, std::int64_t M) {
  float most[kLanes];
  for (int i = 0; i < kLanes; ++i) most[i] = kPicked;
  std::int64_t m = 0;
  for (; m + kLanes <= M; m += kLanes)
    for (int i = 0; i < kLanes; ++i) most[i] = bound[m + i] > most[i] ? bound[m + i] : most[i];
  for (; m < M; ++m) most[0] = std::max(most[0], bound[m]);
  return *std::max_element(most, most + kLanes);
}

class Greedy {
 public:
  Greedy(const Coreset& p, void* stream) : p_(p), threads_(stream), pick_(p.K) {
    for (std::int64_t n = 0; n < p.begin; ++n) add(n);
  }

  void run() {
    for (std::int64_t n = p_.begin; n < p_.end;) {
      const float level = next_level();
      std::int64_t count = 0;
      for (std::int64_t m = 0; m < p_.M; ++m)
        if (p_.bound[m] > level) p_.active[count++] = m;
      update(count, n, level);
      n = pick(count, n, level);
    }
  }

 private:
  const float* row(std::int64_t m) const { return p_.row + m * p_.D; }
  void add(std::int64_t n) {
    pick_[n] = row(p_.index[n]);
    p_.bound[p_.index[n]] = kPicked;
  }

  /// A level that about `wanted` bounds exceed, and one in any case.
  float next_level() {
    const float most = largest(p_.bound, p_.M);
    const std::int64_t stride = std::max<std::int64_t>(1, p_.M / 4096);
    sample_.clear();
    for (std::int64_t m = 0; m < p_.M; m += stride) sample_.push_back(p_.bound[m]);
    const std::int64_t at = std::min(p_.wanted / stride, std::int64_t(sample_.size()) - 1);
    std::nth_element(sample_.begin(), sample_.begin() + at, sample_.end(), std::greater<float>());
    return std::min(sample_[at], std::nextafter(most, kPicked));
  }

  /// Brings rows up to date with n picks, unless they fall to the level before.
  void update(std::int64_t count, std::int64_t n, float level) {
    threads_.run(count, 64, [&](std::int64_t begin, std::int64_t end) {
      // Picks outside: a few of them stay in the cache while all rows pass.
      for (std::int64_t first = 0; first < n; first += kPicks) {
        const std::int64_t last = std::min(n, first + kPicks);
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t m = p_.active[i];
          if (p_.seen[m] >= last || !(p_.bound[m] > level)) continue;
          const std::int64_t from = std::max<std::int64_t>(first, p_.seen[m]);
          p_.bound[m] = least_distance2(row(m), &pick_[from], last - from, p_.D, p_.bound[m]);
          p_.seen[m] = std::int32_t(last);
        }
      }
    });
  }

  /// Picks among active rows, all up to date with n picks, while the farthest is above the level;
  /// rows that fall to the level or below stop being active.
  std::int64_t pick(std::int64_t count, std::int64_t n, float level) {
    while (n < p_.end) {
      std::int64_t far = -1;
      float distance = level;
      std::int64_t left = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t m = p_.active[i];
        if (!(p_.bound[m] > level)) continue;  // no longer active
        p_.active[left++] = m;
        if (p_.bound[m] > distance) {  // strict: the lowest index wins a tie
          far = m;
          distance = p_.bound[m];
        }
      }
      count = left;
      if (far < 0) break;
      p_.index[n] = far;
      add(n);
      ++n;
      threads_.run(count, 4096, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t m = p_.active[i];
          p_.bound[m] = least_distance2(row(m), pick_[n - 1], p_.D, p_.bound[m]);
          p_.seen[m] = std::int32_t(n);
        }
      });
    }
    return n;
  }

  const Coreset& p_;
  Threads<> threads_;
  std::vector<const float*> pick_;
  std::vector<float> sample_;
};

}  // namespace

template <>
void coreset<Cpu>(const Coreset& p, void* stream) {
  Greedy(p, stream).run();
}

}  // namespace cmad
