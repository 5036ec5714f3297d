#include "ops/knn.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "core/simd.h"
#include "ops/knn_code.h"
#include "ops/knn_distance.h"

// Blocks of queries meet blocks of rows. Tiles of 6 queries by 64 rows of 8-bit codes are
// multiplied exactly; from the product and the bounds of both sides follows the least distance that
// the two may have. Where it does not exceed the query's k-th best so far, the row is a candidate.
// After each block of rows the candidates are measured in float64, and the k-th best gets smaller.

namespace cmad {
namespace {

/// A query's k nearest rows so far, sorted by distance, then index.
struct Nearest {
  double* distance;
  std::int64_t* index;
  std::int64_t K;

  double worst() const { return distance[K - 1]; }
  void add(double d, std::int64_t i) {
    if (!(d < worst() || (d == worst() && i < index[K - 1]))) return;
    std::int64_t at = K - 1;
    for (; at > 0 && (d < distance[at - 1] || (d == distance[at - 1] && i < index[at - 1])); --at) {
      distance[at] = distance[at - 1];
      index[at] = index[at - 1];
    }
    distance[at] = d;
    index[at] = i;
  }
};

/// What the scan compares a query's products by: kept unless
/// base - reach * radius - 2 rest_q * rest - 2 step_q * step * product > limit.
struct Query {
  float step2, rest2;   // twice the query's
  float reach, limit;   // infinite until k rows are known
  float likely;         // the limit as if codes were exact
  std::int32_t offset;  // 128 times the sum of its codes, which the rows' codes added
  double norm2, radius;

  void set(const Encoded& e) {
    norm2 = e.norm2;
    radius = e.radius;
    step2 = float(2 * e.step);
    rest2 = float(2 * e.rest);
    offset = std::int32_t(128 * e.sum);
  }
  /// A row is at least |its image - the query's image| - both radii away, in scaled units.
  void aim(double kth, double scale) {
    const double T = std::sqrt(kth) * scale * (1 + 1e-6) + radius;
    const double most = T * T - norm2 + 2e-6 * (T * T + norm2) + 1e-36;
    const bool usable = norm2 < kLongest2 && T * T < kLongest2;
    reach = usable ? float(2 * T * (1 + 1e-6)) : 0;
    limit = usable ? float(most) : std::numeric_limits<float>::infinity();
    likely = usable ? float((T - radius) * (T - radius) - norm2) : limit;
  }
};

/// Bounds of 64 rows, less the reach; true where any may be near enough.
CMAD_SIMD bool bounds(const Query& q, const float* __restrict base, const std::int32_t* dot,
                      float* __restrict at_least) {
  const float *radius = base + kTileRows, *rest = radius + kTileRows, *step = rest + kTileRows;
  const float step2 = q.step2, rest2 = q.rest2, reach = q.reach, limit = q.limit;
  const std::int32_t offset = q.offset;
  int any = 0;
  for (int i = 0; i < kTileRows; ++i) {
    const float product = float(dot[i] - offset) * step[i];
    at_least[i] = base[i] - rest2 * rest[i] - step2 * product;
    any |= !(at_least[i] - reach * radius[i] > limit);
  }
  return any != 0;
}

class Search {
 public:
  explicit Search(const Knn& p)
      : p_(p),
        row_bytes_(p.into.D * bytes_of(p.number)),
        tiles_((p.M + kTileRows - 1) / kTileRows),
        blocks_((tiles_ * kTileRows + p.row_block - 1) / p.row_block),
        encode_(p.into),
        code_(std::size_t(p.query_block * p.into.C())),
        query_(p.query_block),
        capacity_(3 * p.row_block),
        candidate_(std::size_t(p.query_block * capacity_)),
        count_(p.query_block),
        left_(p.query_block),
        buffer_(p.into.D) {}

  void run(std::int64_t begin, std::int64_t end) {
    if (p_.code == nullptr) return measure_all(begin, end);
    for (; begin < end; begin += p_.query_block) {
      const std::int64_t n = std::min(p_.query_block, end - begin);
      for (std::int64_t j = 0; j < n; ++j) {
        const float* query = p_.query + (begin + j) * p_.into.D;
        query_[j].set(encode_(query, Number::float32, code_.data() + j * p_.into.C()));
        query_[j].aim(nearest(begin + j).worst(), p_.into.scale);
        count_[j] = left_[j] = 0;
      }
      const std::vector<double> distance(p_.distance + begin * p_.K,
                                         p_.distance + (begin + n) * p_.K);
      const std::vector<std::int64_t> index(p_.index + begin * p_.K, p_.index + (begin + n) * p_.K);
      measured_ = 0;
      bool worth = true;
      for (std::int64_t block = 0; block < blocks_ && worth; ++block) {
        scan(n, block);
        for (std::int64_t j = 0; j < n; ++j) measure_likely(begin + j, j);
        worth = worth_it(n);
      }
      for (std::int64_t j = 0; j < n && worth; ++j) {
        measure_all_left(begin + j, j);
        worth = worth_it(n);
      }
      std::fill(p_.given_up + begin, p_.given_up + begin + n, !worth);
      if (worth) continue;
      std::copy(distance.begin(), distance.end(), p_.distance + begin * p_.K);
      std::copy(index.begin(), index.end(), p_.index + begin * p_.K);
    }
  }

 private:
  struct Candidate {
    float at_least;  // the distance by the codes, less what is the same for all rows
    std::int32_t row;
  };

  /// Measuring a row takes as long as scanning some 25; a scan of all columns needs few measured.
  bool worth_it(std::int64_t n) const {
    return p_.into.basis == nullptr || measured_ <= n * (p_.M / 32 + 4 * p_.K);
  }

  Nearest nearest(std::int64_t q) const {
    return {p_.distance + q * p_.K, p_.index + q * p_.K, p_.K};
  }

  void add(std::int64_t q, std::int64_t m, Nearest& best) {
    ++measured_;
    const std::int64_t D = p_.into.D;
    const float* query = p_.query + q * D;
    const float* row = as_floats(row_at(m), p_.number, 0, D, buffer_.data());
    // A sum of squares in float is off by less than one unit for each addition in a lane and some
    // more; near float's range there is no first look.
    const double limit = best.worst() * (1 + double(D / 64 + 16) * 0x1p-23) + 1e-36;
    if (limit < 1e38 && farther(row, query, D, float(limit))) return;
    best.add(distance2(row, query, D), p_.first + m);
  }
  /// Rows lie far apart: without it the first lines of each would be waited for.
  void fetch(std::int64_t m) const {
    const char* row = static_cast<const char*>(row_at(m));
    for (std::int64_t i = 0; i < row_bytes_; i += 64) __builtin_prefetch(row + i);
  }
  const void* row_at(std::int64_t m) const {
    return static_cast<const char*>(p_.row) + m * row_bytes_;
  }

  void measure_all(std::int64_t begin, std::int64_t end) {
    for (std::int64_t q = begin; q < end; ++q) {
      Nearest best = nearest(q);
      for (std::int64_t m = 0; m < p_.M; ++m) add(q, m, best);
    }
  }

  /// A block takes its tiles from all parts of the bank, so that the first already tells much.
  void scan(std::int64_t n, std::int64_t block) {
    const Int8Tile multiply = int8_tile(p_.path);
    const std::int64_t C = p_.into.C();
    std::int32_t dot[kTileColumns][kTileRows];
    float at_least[kTileRows];
    for (std::int64_t tile = block; tile < tiles_; tile += blocks_) {
      const std::int64_t row = tile * kTileRows;
      const float* base = p_.bound + 4 * tile * kTileRows;
      const float* radius = base + kTileRows;
      for (std::int64_t j = 0; j < n; j += kTileColumns) {
        const int columns = int(std::min<std::int64_t>(kTileColumns, n - j));
        multiply(p_.code + tile * kTileRows * C, code_.data() + j * C, C, columns, dot);
        for (int c = 0; c < columns; ++c) {
          const Query& q = query_[j + c];
          if (!bounds(q, base, dot[c], at_least)) continue;
          Candidate* list = candidate_.data() + (j + c) * capacity_;
          for (int i = 0; i < kTileRows && row + i < p_.M; ++i)
            if (!(at_least[i] - q.reach * radius[i] > q.limit))
              list[count_[j + c]++] = {at_least[i], std::int32_t(row + i)};
        }
      }
    }
  }

  /// Measures the candidates that are probably among the nearest, and leaves those that merely
  /// may be until the k-th best is smaller: most of them are then too far.
  void measure_likely(std::int64_t q, std::int64_t j) {
    Candidate *begin = candidate_.data() + j * capacity_, *end = begin + count_[j];
    Candidate *left = begin + left_[j], *list = left;
    Nearest best = nearest(q);
    Query& query = query_[j];
    if (best.worst() == std::numeric_limits<double>::infinity()) list = measure_some(q, j, end);
    for (; list < end; ++list) {
      if (too_far(query, *list)) continue;
      if (list->at_least <= query.likely) {
        add(q, list->row, best);
        query.aim(best.worst(), p_.into.scale);
      } else {
        *left++ = *list;
      }
    }
    count_[j] = left_[j] = left - begin;
    if (count_[j] + p_.row_block > capacity_) measure_all_left(q, j);
  }

  /// Those that look nearest first.
  void measure_all_left(std::int64_t q, std::int64_t j) {
    Candidate* begin = candidate_.data() + j * capacity_;
    Candidate* end = begin + count_[j];
    while (count_[j] > 0) {
      Candidate* list = measure_some(q, j, end);
      end = std::remove_if(list, end, [&](const Candidate& c) { return too_far(query_[j], c); });
      count_[j] = std::copy(list, end, begin) - begin;
      end = begin + count_[j];
    }
    left_[j] = 0;
  }

  /// Measures the K that look nearest; returns where the others begin.
  Candidate* measure_some(std::int64_t q, std::int64_t j, Candidate* end) {
    Candidate* list = candidate_.data() + j * capacity_;
    Candidate* some = std::min(list + p_.K, end);
    const auto nearer = [](const Candidate& a, const Candidate& b) {
      return a.at_least < b.at_least;
    };
    if (some < end) std::nth_element(list, some, end, nearer);
    Nearest best = nearest(q);
    for (; list < some; ++list) {
      if (list + 1 < some) fetch(list[1].row);
      add(q, list->row, best);
    }
    query_[j].aim(best.worst(), p_.into.scale);
    return some;
  }

  bool too_far(const Query& q, const Candidate& c) const {
    const float* radius = p_.bound + (4 * (c.row / kTileRows) + 1) * kTileRows;
    return c.at_least - q.reach * radius[c.row % kTileRows] > q.limit;
  }

  const Knn& p_;
  std::int64_t row_bytes_, tiles_, blocks_;
  Encoder encode_;
  std::vector<std::int8_t> code_;
  std::vector<Query> query_;
  std::int64_t capacity_;  // candidates per query: a block's beside those left before
  std::vector<Candidate> candidate_;
  std::vector<std::int64_t> count_, left_;  // candidates, and those of earlier blocks among them
  std::int64_t measured_ = 0;
  std::vector<float> buffer_;
};

}  // namespace

template <>
void knn<Cpu>(const Knn& p, void* stream) {
  // Queries that are searched together read the bank once.
  const std::int64_t together = std::min(p.query_block, p.Q / threads_of(stream));
  parallel_for(p.Q, std::max<std::int64_t>(16, together), stream,
               [&](std::int64_t begin, std::int64_t end) { Search(p).run(begin, end); });
}

}  // namespace cmad
