#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "core/device.h"

namespace cmad {

struct StartThread {
  template <class F>
  std::thread operator()(F&& f) const {
    return std::thread(std::forward<F>(f));
  }
};

/// Calls `f(begin, end)` on disjoint ranges that cover [0, n), each at least `grain` long where n
/// is. Threads live for one call: there is no pool, so nothing of ours is left running or locked
/// between calls, when a process may fork. (torch's own pool of threads does not survive a fork.)
/// An exception of one range is thrown again here, after all ranges have ended. `start` makes the
/// threads; if it throws, this thread does the ranges that are left.
template <class F, class Start = StartThread>
void parallel_for(std::int64_t n, std::int64_t grain, void* stream, F&& f, Start&& start = {}) {
  const std::int64_t parts =
      std::max<std::int64_t>(1, std::min(threads_of(stream), n / std::max<std::int64_t>(1, grain)));
  if (parts == 1) {
    if (n > 0) f(std::int64_t(0), n);
    return;
  }
  std::vector<std::exception_ptr> error(parts);
  auto part = [&](std::int64_t i) {
    try {
      // Not n * i / parts, which could overflow.
      f(n / parts * i + std::min(i, n % parts), n / parts * (i + 1) + std::min(i + 1, n % parts));
    } catch (...) {
      error[i] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(parts);  // so that a thread, once started, is always joined
  std::int64_t started = 1;
  try {
    for (; started < parts; ++started) threads.push_back(start([&part, i = started] { part(i); }));
  } catch (...) {
    // No more threads, or no memory for one: this one does their ranges too.
  }
  part(0);
  for (std::int64_t i = started; i < parts; ++i) part(i);
  for (auto& thread : threads) thread.join();
  for (auto& e : error)
    if (e) std::rethrow_exception(e);
}

}  // namespace cmad
