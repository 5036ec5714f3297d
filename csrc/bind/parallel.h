#pragma once

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "bind/bind.h"
#include "core/parallel.h"

namespace cmad {

/// For tests only: runs so many loops over [0, n) on the same threads; returns how often each index
/// was visited, the message of what the last loop threw, and how many threads were started. A range
/// throws the first of `fail` that it holds, when it has visited all of its own; `can_start` is how
/// many threads can be started before memory is said to run out. The range of index 0 first
/// waits until others have visited so many indices, and throws after 20 seconds.
inline void bind_parallel_for(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "_parallel_for",
      [](I n, I grain, std::uintptr_t stream, const std::vector<I>& fail, I can_start, I loops,
         I wait) {
        std::vector<std::atomic<I>> visits(n);
        std::atomic<I> visited{0};
        auto range = [&](I begin, I end) {
          for (I tenths = 0; begin == 0 && visited < wait && tenths < 200'000; ++tenths)
            std::this_thread::sleep_for(std::chrono::microseconds(100));
          if (begin == 0 && visited < wait) throw std::out_of_range("waited in vain");
          for (I i = begin; i < end; ++i) ++visits[i];
          visited += end - begin;
          for (const I i : fail)
            if (begin <= i && i < end) throw std::out_of_range(std::to_string(i));
        };
        I started = 0;
        auto start = [&](auto&& f) {
          if (started >= can_start) throw std::bad_alloc();
          ++started;
          return StartThread{}(f);
        };
        std::string thrown;
        {
          nb::gil_scoped_release nogil;
          Threads<decltype(start)> threads(stream_of(stream), start);
          for (I loop = 0; loop < loops; ++loop) {
            try {
              thrown.clear();
              threads.run(n, grain, range);
            } catch (const std::out_of_range& e) {
              thrown = e.what();
            }
          }
        }
        return std::make_tuple(std::vector<I>(visits.begin(), visits.end()), thrown, started);
      },
      "n"_a, "grain"_a, "stream"_a, "fail"_a, "can_start"_a, "loops"_a, "wait"_a);
}

}  // namespace cmad
