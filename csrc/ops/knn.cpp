#include "ops/knn.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "core/simd.h"
#include "ops/knn_code.h"

// Blocks of queries meet blocks of rows. Tiles of 6 queries by 64 rows of 8-bit codes are multiplied
// exactly; from the product and the bounds of both sides follows the least distance that the two
// may have. Where it does not exceed the query's k-th best so far, the row is a candidate. After
// each block of rows the candidates are measured in float64, and the k-th best gets smaller.

namespace cmad {
namespace {

constexpr int kLanes = 16;
constexpr std::int64_t kChunk = 256;  // entries measured before a distance may be given up

/// sum[i] += squared differences of entries i, i + 16, ... of n.
CMAD_SIMD void add_squared_differences(const float* __restrict a, const float* __restrict b,
                                       std::int64_t n, double* __restrict sum) {
  double lane[kLanes];
  for (int i = 0; i < kLanes; ++i) lane[i] = sum[i];
  std::int64_t d = 0;
  for (; d + kLanes <= n; d += kLanes)
    for (int i = 0; i < kLanes; ++i) {
      const double e = double(a[d + i]) - double(b[d + i]);
      lane[i] += e * e;
    }
  for (; d < n; ++d) {
    const double e = double(a[d]) - double(b[d]);
    lane[d % kLanes] += e * e;
  }
  for (int i = 0; i < kLanes; ++i) sum[i] = lane[i];
}

double total(const double* lane) {
  double s[kLanes];
  std::copy(lane, lane + kLanes, s);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) s[i] += s[i + half];
  return s[0];
}

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
  float step2, rest2;  // twice the query's
  float reach, limit;  // infinite until k rows are known
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
        encode_(p.into),
        code_(std::size_t(p.query_block * p.into.C())),
        query_(p.query_block),
        candidate_(std::size_t(p.query_block * p.row_block)),
        count_(p.query_block) {}

  void run(std::int64_t begin, std::int64_t end) {
    if (p_.code == nullptr) return measure_all(begin, end);
    for (; begin < end; begin += p_.query_block) {
      const std::int64_t n = std::min(p_.query_block, end - begin);
      for (std::int64_t j = 0; j < n; ++j)
        query_[j].set(encode_(p_.query + (begin + j) * p_.into.D, Number::float32,
                              code_.data() + j * p_.into.C()));
      for (std::int64_t row = 0; row < p_.M; row += p_.row_block) {
        for (std::int64_t j = 0; j < n; ++j) {
          query_[j].aim(nearest(begin + j).worst(), p_.into.scale);
          count_[j] = 0;
        }
        scan(n, row, std::min(p_.M, row + p_.row_block));
        for (std::int64_t j = 0; j < n; ++j) measure(begin + j, j);
      }
    }
  }

 private:
  struct Candidate {
    float at_least;
    std::int64_t row;
  };

  Nearest nearest(std::int64_t q) const {
    return {p_.distance + q * p_.K, p_.index + q * p_.K, p_.K};
  }

  void add(std::int64_t q, std::int64_t m, Nearest& best) {
    const float* query = p_.query + q * p_.into.D;
    const char* row = static_cast<const char*>(p_.row) + m * row_bytes_;
    double lane[kLanes] = {}, distance = 0;
    for (std::int64_t d = 0; d < p_.into.D; d += kChunk) {
      const std::int64_t n = std::min(kChunk, p_.into.D - d);
      add_squared_differences(as_floats(row, p_.number, d, n, buffer_), query + d, n, lane);
      distance = total(lane);
      if (distance > best.worst()) return;
    }
    best.add(distance, p_.first + m);
  }

  void measure_all(std::int64_t begin, std::int64_t end) {
    for (std::int64_t q = begin; q < end; ++q) {
      Nearest best = nearest(q);
      for (std::int64_t m = 0; m < p_.M; ++m) add(q, m, best);
    }
  }

  void scan(std::int64_t n, std::int64_t row, std::int64_t end) {
    const Int8Tile multiply = int8_tile(p_.path);
    const std::int64_t C = p_.into.C();
    std::int32_t dot[kTileColumns][kTileRows];
    float at_least[kTileRows];
    for (; row < end; row += kTileRows) {
      const std::int64_t tile = row / kTileRows;
      const float* base = p_.bound + 4 * tile * kTileRows;
      const float* radius = base + kTileRows;
      for (std::int64_t j = 0; j < n; j += kTileColumns) {
        const int columns = int(std::min<std::int64_t>(kTileColumns, n - j));
        multiply(p_.code + tile * kTileRows * C, code_.data() + j * C, C, columns, dot);
        for (int c = 0; c < columns; ++c) {
          const Query& q = query_[j + c];
          if (!bounds(q, base, dot[c], at_least)) continue;
          Candidate* list = candidate_.data() + (j + c) * p_.row_block;
          for (int i = 0; i < kTileRows && row + i < end; ++i)
            if (!(at_least[i] - q.reach * radius[i] > q.limit))
              list[count_[j + c]++] = {at_least[i], row + i};
        }
      }
    }
  }

  /// Measures a query's candidates, those that look nearest first: they spare most of the others.
  void measure(std::int64_t q, std::int64_t j) {
    Candidate *list = candidate_.data() + j * p_.row_block, *end = list + count_[j];
    Nearest best = nearest(q);
    if (end - list > 2 * p_.K) {
      const auto nearer = [](const Candidate& a, const Candidate& b) {
        return a.at_least < b.at_least;
      };
      std::nth_element(list, list + p_.K, end, nearer);
      for (const Candidate* c = list; c < list + p_.K; ++c) add(q, c->row, best);
      list += p_.K;
      query_[j].aim(best.worst(), p_.into.scale);
    }
    for (; list < end; ++list) {
      const float* bound = p_.bound + 4 * (list->row / kTileRows) * kTileRows;
      const float radius = bound[kTileRows + list->row % kTileRows];
      if (!(list->at_least - query_[j].reach * radius > query_[j].limit)) add(q, list->row, best);
    }
  }

  const Knn& p_;
  std::int64_t row_bytes_;
  Encoder encode_;
  std::vector<std::int8_t> code_;
  std::vector<Query> query_;
  std::vector<Candidate> candidate_;
  std::vector<std::int64_t> count_;
  float buffer_[kChunk];
};

}  // namespace

template <>
void knn<Cpu>(const Knn& p, void* stream) {
  parallel_for(p.Q, 16, stream, [&](std::int64_t begin, std::int64_t end) {
    Search(p).run(begin, end);
  });
}

}  // namespace cmad
