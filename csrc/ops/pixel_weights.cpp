#include "ops/pixel_weights.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"

namespace cmad {
namespace {

/// Calls `f(m, w)` for each entry of an output pixel: a centre and its weight, which is not 0.
template <class F>
void each_entry(const PixelWeights& p, std::int64_t pixel, F&& f) {
  const std::int64_t top = p.first[pixel / p.R], left = p.first[pixel % p.R];
  const float* rows = p.tap + pixel / p.R * p.T;
  const float* columns = p.tap + pixel % p.R * p.T;
  const std::int64_t i0 = std::max<std::int64_t>(0, -top), i1 = std::min(p.T, p.S - top);
  const std::int64_t j0 = std::max<std::int64_t>(0, -left), j1 = std::min(p.T, p.S - left);
  for (std::int64_t i = i0; i < i1; ++i) {
    const std::int64_t row = (top + i) * p.S + left;
    for (std::int64_t j = j0; j < j1; ++j) {
      const double tap = double(rows[i]) * double(columns[j]);
      const std::int64_t point = p.point[row + j];
      if (point < 0 || tap == 0) continue;
      const std::int64_t* m = p.neighbour + point * p.J;
      const float* w = p.neighbour_weight + point * p.J;
      for (std::int64_t k = 0; k < p.J; ++k)
        if (w[k] != 0) f(m[k], tap * double(w[k]));  // three float32: no underflow in float64
    }
  }
}

/// Output pixels for a thread: as many as read some 8192 pixels of the frame.
std::int64_t grain(const PixelWeights& p) {
  return 8192 / std::max<std::int64_t>(1, p.T * p.T) + 1;
}

}  // namespace

template <>
void pixel_weights_start<Cpu>(const PixelWeights& p, std::int64_t* start, void* stream) {
  start[0] = 0;
  parallel_for(p.P, grain(p), stream, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int64_t> last(p.M, -1);  // output pixel that had an entry of the centre
    for (std::int64_t o = begin; o < end; ++o) {
      std::int64_t count = 0;
      each_entry(p, p.pixel[o], [&](std::int64_t m, double) {
        count += last[m] != o;
        last[m] = o;
      });
      start[o + 1] = count;
    }
  });
  for (std::int64_t o = 0; o < p.P; ++o) start[o + 1] += start[o];
}

template <>
void pixel_weights<Cpu>(const PixelWeights& p, const std::int64_t* start, std::int32_t* index,
                        float* weight, void* stream) {
  parallel_for(p.P, grain(p), stream, [&](std::int64_t begin, std::int64_t end) {
    struct Sum {
      double weight = 0;
      std::int64_t pixel = -1;  // output pixel it is of
    };
    std::vector<Sum> sum(p.M);
    for (std::int64_t o = begin; o < end; ++o) {
      std::int32_t* last = index + start[o];
      each_entry(p, p.pixel[o], [&](std::int64_t m, double added) {
        if (sum[m].pixel != o) {
          sum[m] = {0, o};
          *last++ = std::int32_t(m);
        }
        sum[m].weight += added;
      });
      std::sort(index + start[o], last);
      for (std::int64_t e = start[o]; e < start[o + 1]; ++e)
        weight[e] = float(sum[index[e]].weight);
    }
  });
}

}  // namespace cmad
