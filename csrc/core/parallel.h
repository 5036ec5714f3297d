#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "core/device.h"

namespace cmad {

/// Calls `f(begin, end)` on disjoint ranges that cover [0, n), each at least `grain` long.
/// Threads live for one call: no pool, so a process may fork, and nothing is global.
/// An exception of one range is thrown again here, after all ranges have ended.
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, void* stream, F&& f) {
  const std::int64_t parts =
      std::max<std::int64_t>(1, std::min(threads_of(stream), n / std::max<std::int64_t>(1, grain)));
  if (parts == 1) {
    if (n > 0) f(std::int64_t(0), n);
    return;
  }
  std::vector<std::exception_ptr> error(parts);
  auto part = [&](std::int64_t i) {
    try {
      f(n * i / parts, n * (i + 1) / parts);
    } catch (...) {
      error[i] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(parts);
  std::int64_t started = 1;
  try {
    for (; started < parts; ++started) threads.emplace_back(part, started);
  } catch (const std::system_error&) {
    // The machine gives no more threads: this one does their ranges too.
  }
  part(0);
  for (std::int64_t i = started; i < parts; ++i) part(i);
  for (auto& thread : threads) thread.join();
  for (auto& e : error)
    if (e) std::rethrow_exception(e);
}

}  // namespace cmad
