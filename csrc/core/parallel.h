#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
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

/// The threads of one call of an op, this one among them; several loops of the op share them.
///
/// They start when a loop first needs them and end with this object. There is no pool: nothing of
/// ours is left running or locked between calls, when a process may fork. (torch's own pool of
/// threads does not survive a fork.) `start` makes the threads; if it throws, fewer do the work.
template <class Start = StartThread>
class Threads {
 public:
  explicit Threads(void* stream, Start start = {})
      : most_(threads_of(stream)), start_(std::move(start)) {}
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  /// Calls `f(begin, end)` on disjoint ranges that cover [0, n), each at least `grain` long where n
  /// is. There are some for each thread, and who is free takes the next, so that rows need not be
  /// equally much work. An exception of a range, of several the first's, is thrown again here,
  /// after all ranges have ended.
  template <class F>
  void run(std::int64_t n, std::int64_t grain, F&& f) {
    const std::int64_t most = n / std::max<std::int64_t>(1, grain);
    const std::int64_t working = start_up_to(most);
    if (working == 1) {
      if (n > 0) f(std::int64_t(0), n);
      return;
    }
    // A multiple, so that rows that are equally much work leave nobody without.
    Loop loop{std::min(most, kEach * working) / working * working};
    auto part = [&](std::int64_t i) {
      const std::int64_t each = n / loop.count, left = n % loop.count;  // n * i could overflow
      f(each * i + std::min(i, left), each * (i + 1) + std::min(i + 1, left));
    };
    loop.context = &part;
    loop.part = [](void* context, std::int64_t i) { (*static_cast<decltype(part)*>(context))(i); };
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      loop_ = &loop;
      ++loops_;
    }
    wake_.notify_all();
    work(loop);
    std::unique_lock<std::mutex> lock(mutex_);
    loop_ = nullptr;  // who wakes only now has nothing to do
    done_.wait(lock, [&] { return busy_ == 0; });
    if (loop.error) std::rethrow_exception(loop.error);
  }

 private:
  static constexpr std::int64_t kEach = 8;  // ranges of a thread

  struct Loop {
    std::int64_t count;  // of ranges
    void* context = nullptr;
    void (*part)(void* context, std::int64_t i) = nullptr;
    std::atomic<std::int64_t> next{0};
    std::exception_ptr error = nullptr;
    std::int64_t failed = 0;  // the range whose error it is
  };

  /// Starts threads until so many are at work; returns how many are, this one counted.
  std::int64_t start_up_to(std::int64_t count) {
    count = std::max<std::int64_t>(1, std::min(count, most_));
    try {
      threads_.reserve(count - 1);  // so that a thread, once started, is always joined
      while (std::int64_t(threads_.size()) < count - 1)
        threads_.push_back(start_([this] { wait_and_work(); }));
    } catch (...) {
      most_ = std::int64_t(threads_.size()) + 1;  // no more threads, or no memory for one
    }
    return std::min(count, std::int64_t(threads_.size()) + 1);
  }

  void wait_and_work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (std::int64_t seen = 0;;) {
      wake_.wait(lock, [&] { return ending_ || (loop_ != nullptr && loops_ != seen); });
      if (ending_) return;
      seen = loops_;
      Loop& loop = *loop_;
      ++busy_;
      lock.unlock();
      work(loop);
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  void work(Loop& loop) {
    for (std::int64_t i; (i = loop.next++) < loop.count;) {
      try {
        loop.part(loop.context, i);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (loop.error && loop.failed < i) continue;
        loop.error = std::current_exception();
        loop.failed = i;
      }
    }
  }

  std::int64_t most_;
  Start start_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;  // of all below
  std::condition_variable wake_, done_;
  Loop* loop_ = nullptr;
  std::int64_t loops_ = 0, busy_ = 0;
  bool ending_ = false;
};

/// The only loop of an op: `Threads::run`.
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, void* stream, F&& f) {
  Threads<>(stream).run(n, grain, std::forward<F>(f));
}

}  // namespace cmad
