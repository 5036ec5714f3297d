#pragma once

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bind/bind.h"
#include "core/parallel.h"

namespace cmad {

/// For tests only: runs parallel_for() and returns how often each of [0, n) was visited, and the
/// message of what it threw. A range throws the first of `fail` that it holds, when it has visited
/// all of its own; `threads` is how many can be started before memory is said to run out.
inline void bind_parallel_for(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "_parallel_for",
      [](I n, I grain, std::uintptr_t stream, const std::vector<I>& fail, I threads) {
        std::vector<std::atomic<I>> visits(n);
        auto range = [&](I begin, I end) {
          for (I i = begin; i < end; ++i) ++visits[i];
          for (const I i : fail)
            if (begin <= i && i < end) throw std::out_of_range(std::to_string(i));
        };
        auto start = [&](auto&& f) {
          if (threads-- <= 0) throw std::bad_alloc();
          return StartThread{}(f);
        };
        std::string thrown;
        try {
          nb::gil_scoped_release nogil;
          parallel_for(n, grain, stream_of(stream), range, start);
        } catch (const std::out_of_range& e) {
          thrown = e.what();
        }
        return std::make_pair(std::vector<I>(visits.begin(), visits.end()), thrown);
      },
      "n"_a, "grain"_a, "stream"_a, "fail"_a, "threads"_a);
}

}  // namespace cmad
