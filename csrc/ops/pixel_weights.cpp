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
    std::vector<Entry> entries;
    for (std::int64_t o = begin; o < end; ++o) {
      const std::int64_t row = p.pixel[o] / p.S, column = p.pixel[o] % p.S;
      entries.clear();
      for (std::int64_t i = 0; i < p.T; ++i)
        for (std::int64_t j = 0; j < p.T; ++j) {
          const std::int64_t r = p.first[row] + i, c = p.first[column] + j;
          if (r < 0 || r >= p.S || c < 0 || c >= p.S || p.point[r * p.S + c] < 0) continue;
          const double w = double(p.tap[row * p.T + i]) * double(p.tap[column * p.T + j]);
          const std::int64_t n = p.point[r * p.S + c];
          for (std::int64_t k = n * p.J; k < (n + 1) * p.J; ++k)
            if (w * double(p.neighbour_weight[k]) != 0)
              entries.push_back({p.neighbour[k], w * double(p.neighbour_weight[k])});
        }
      // Stable, so that the sum of a centre's weights has one order on every machine.
      std::stable_sort(entries.begin(), entries.end(),
                       [](const Entry& a, const Entry& b) { return a.centre < b.centre; });
      std::int64_t merged = 0;
      for (std::size_t e = 0; e < entries.size(); ++merged) {
        const std::int64_t centre = entries[e].centre;
        double sum = 0;
        for (; e < entries.size() && entries[e].centre == centre; ++e) sum += entries[e].weight;
        p.index[o * room + merged] = std::int32_t(centre);
        p.weight[o * room + merged] = float(sum);
      }
      p.start[o + 1] = merged;
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
