#include "ops/components.h"

#include <algorithm>
#include <cstring>
#include <vector>

// Works on runs: the stretches of marked pixels in a row, found by memchr. A run joins every run of
// the row above that it touches, diagonals included; a set's root is its first run.

namespace cmad {
namespace {

struct Run {
  std::int64_t begin, end;  // columns
  std::int64_t parent;      // a run of its set, not behind it
};

std::int64_t root(std::vector<Run>& runs, std::int64_t i) {
  while (runs[i].parent != i) i = runs[i].parent = runs[runs[i].parent].parent;
  return i;
}

void join(std::vector<Run>& runs, std::int64_t i, std::int64_t j) {
  i = root(runs, i);
  j = root(runs, j);
  runs[std::max(i, j)].parent = std::min(i, j);
}

}  // namespace

template <>
void components<Cpu>(const Components& p, void*) {
  std::vector<Run> runs;
  std::int64_t here = 0;  // first run of the row
  for (std::int64_t y = 0; y < p.H; ++y) {
    const bool* row = p.mask + y * p.W;
    const bool* end = row + p.W;
    std::int64_t touched = here;  // first run of the row above that may touch this row's next one
    here = std::int64_t(runs.size());
    for (const bool* at = row; at < end;) {
      const auto* first = static_cast<const bool*>(std::memchr(at, 1, end - at));
      if (first == nullptr) break;
      const auto* last = static_cast<const bool*>(std::memchr(first, 0, end - first));
      at = last == nullptr ? end : last;
      const auto number = std::int64_t(runs.size());
      runs.push_back({first - row, at - row, number});
      while (touched < here && runs[touched].end < runs[number].begin) ++touched;
      for (std::int64_t r = touched; r < here && runs[r].begin <= runs[number].end; ++r)
        join(runs, r, number);
    }
  }
  std::vector<std::int64_t> number(runs.size());
  std::int64_t next = 0;
  std::int64_t* label = p.label;
  for (std::int64_t i = 0; i < std::int64_t(runs.size()); ++i) {
    const std::int64_t r = root(runs, i);
    number[i] = r == i ? next++ : number[r];
    label = std::fill_n(label, runs[i].end - runs[i].begin, number[i]);
  }
}

}  // namespace cmad
