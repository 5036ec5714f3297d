#include "ops/pixel_weights.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"

namespace cmad {

template <>
void pixel_weights<Cpu>(const PixelWeights& p, void* stream) {
  const std::int64_t room = p.T * p.T * p.J;
  parallel_for(p.P, 512, stream, [&](std::int64_t begin, std::int64_t end) {
    struct Entry {
      std::int64_t centre;
      double weight;
    };
    std::vector<Entry> entries;  // of one pixel, by centre; mean 5 to 7, so a search is a scan
    for (std::int64_t o = begin; o < end; ++o) {
      const std::int64_t row = p.pixel[o] / p.S, column = p.pixel[o] % p.S;
      entries.clear();
      for (std::int64_t i = 0; i < p.T; ++i) {
        const std::int64_t r = p.first[row] + i;
        if (r < 0 || r >= p.S) continue;
        for (std::int64_t j = 0; j < p.T; ++j) {
          const std::int64_t c = p.first[column] + j;
          if (c < 0 || c >= p.S || p.point[r * p.S + c] < 0) continue;
          const double w = double(p.tap[row * p.T + i]) * double(p.tap[column * p.T + j]);
          const std::int64_t n = p.point[r * p.S + c];
          for (std::int64_t k = n * p.J; k < (n + 1) * p.J; ++k) {
            const double added = w * double(p.neighbour_weight[k]);
            if (added == 0) continue;
            auto at = entries.begin();
            while (at != entries.end() && at->centre < p.neighbour[k]) ++at;
            if (at != entries.end() && at->centre == p.neighbour[k])
              at->weight += added;
            else
              entries.insert(at, {p.neighbour[k], added});
          }
        }
      }
      for (std::size_t e = 0; e < entries.size(); ++e) {
        p.index[o * room + std::int64_t(e)] = std::int32_t(entries[e].centre);
        p.weight[o * room + std::int64_t(e)] = float(entries[e].weight);
      }
      p.start[o + 1] = std::int64_t(entries.size());
    }
  });
  p.start[0] = 0;
  for (std::int64_t o = 0; o < p.P; ++o) {  // close the gaps; writes never pass reads
    std::copy_n(p.index + o * room, p.start[o + 1], p.index + p.start[o]);
    std::copy_n(p.weight + o * room, p.start[o + 1], p.weight + p.start[o]);
    p.start[o + 1] += p.start[o];
  }
}

}  // namespace cmad
