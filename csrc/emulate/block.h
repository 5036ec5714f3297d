#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "core/math.h"
#include "emulate/copies.h"
#include "emulate/fibre.h"
#include "emulate/memory.h"

namespace cmad::emulate {

/// What the lanes of a warp give each other.
using Lanes = std::array<std::uint64_t, kWarp>;

/// One block of a launch: its threads are fibres, of which one runs until it waits for others. Who
/// runs next is drawn at random.
class Block {
 public:
  Block(unsigned threads, std::size_t shared_bytes, std::uint64_t seed, std::function<void()> body)
      : threads_(threads),
        seed_(seed),
        body_(std::move(body)),
        shared_(shared_bytes / sizeof(std::max_align_t) + 1),
        shared_memory_(shared_.data(), shared_bytes, 1, false, "dynamic shared memory") {}

  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// Runs all threads to their end; throws the first fault. `enter(t)` makes thread t the running
  /// one. Threads that a fault leaves behind are not unwound: kernels own nothing.
  void run(const std::function<void(unsigned)>& enter) {
    char* const* stacks = Fibre::stacks(threads_.size());
    for (unsigned t = 0; t < threads_.size(); ++t) {
      threads_[t].progress.clock[t % kWarp] = 1;
      threads_[t].fibre.begin(stacks[t], &Block::start);
      ready_.push_back(t);
    }
    running = this;
    while (!ready_.empty()) {
      seed_ = hash64(seed_);
      std::swap(ready_[seed_ % ready_.size()], ready_.back());
      self_ = ready_.back();
      ready_.pop_back();
      enter(self_);
      now.progress = &threads_[self_].progress;
      threads_[self_].fibre.enter();
      if (error_) std::rethrow_exception(error_);
    }
    for (unsigned t = 0; t < threads_.size(); ++t)
      if (!threads_[t].ended) stuck(enter);
  }

  /// Lets others run first, perhaps.
  void yield() {
    ready_.push_back(self_);
    pause();
  }

  /// Waits for all threads of the block, which must come to the same line.
  void barrier(Place place) {
    Thread& self = threads_[self_];
    self.wait = {kBarrier, ~0u, place};
    if (++at_barrier_ == threads_.size()) {
      for (const Thread& thread : threads_)
        if (!(thread.wait.place == place))
          fault("the barrier at " + said(place) + " is not reached by all threads: one waits at " +
                said(thread.wait.place));
      at_barrier_ = 0;
      for (unsigned t = 0; t < threads_.size(); ++t) {
        ++threads_[t].progress.barriers;
        release(t);
      }
    }
    pause();
  }

  /// Waits for the lanes that the mask names, each in the same operation with the same mask;
  /// returns what they gave. Only where `ordered` do later accesses follow the lanes' earlier ones.
  /// The last one to come calls `together`, before any goes on.
  const Lanes& exchange(const char* op, std::uint32_t mask, std::uint64_t value, bool ordered,
                        Place place, void (*together)(const Lanes&) = nullptr) {
    Thread& self = threads_[self_];
    const unsigned lane = self_ % kWarp, first = self_ - lane;
    if ((mask >> lane & 1) == 0)
      fault(std::string(op) + " at " + said(place) + ": its mask does not name the thread itself");
    self.wait = {op, mask, place};
    self.value = value;
    if (all_in(first, self.wait)) {
      Lanes values = {};
      Progress joined;
      for_lanes(first, mask, [&](unsigned t) {
        values[t - first] = threads_[t].value;
        for (unsigned l = 0; l < kWarp; ++l)
          joined.clock[l] = std::max(joined.clock[l], threads_[t].progress.clock[l]);
      });
      if (together != nullptr) together(values);
      for_lanes(first, mask, [&](unsigned t) {
        threads_[t].seen = values;
        if (ordered) {
          threads_[t].progress.clock = joined.clock;
          ++threads_[t].progress.clock[t - first];
        }
        release(t);
      });
    }
    pause();
    return self.seen;
  }

  unsigned lane() const { return self_ % kWarp; }
  Copies& copies() { return threads_[self_].copies; }
  char* shared() { return reinterpret_cast<char*>(shared_.data()); }
  Memory* shared_memory() { return &shared_memory_; }

  static inline thread_local Block* running = nullptr;

 private:
  static constexpr const char* kBarrier = "__syncthreads";

  struct Wait {
    const char* op = nullptr;  // null: does not wait
    std::uint32_t mask = 0;
    Place place = {"", 0};
  };
  struct Thread {
    Fibre fibre;
    Progress progress;
    Copies copies;
    Wait wait;
    bool ended = false;
    std::uint64_t value = 0;
    Lanes seen = {};
    bool at_barrier() const { return wait.op == kBarrier; }
  };

  static void start() {
    Block& block = *running;
    Thread& self = block.threads_[block.self_];
    self.fibre.arrived();
    try {
      block.body_();
    } catch (...) {
      block.error_ = std::current_exception();
    }
    self.ended = true;
    self.fibre.leave(true);
  }

  void pause() { threads_[self_].fibre.leave(); }

  void release(unsigned t) {
    threads_[t].wait = {};
    ready_.push_back(t);
  }

  template <class F>
  void for_lanes(unsigned first, std::uint32_t mask, F&& f) {
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if (mask >> lane & 1) f(first + lane);
  }

  bool all_in(unsigned first, const Wait& wait) {
    bool all = true;
    for_lanes(first, wait.mask, [&](unsigned t) {
      all = all && t < threads_.size() && same(threads_[t].wait, wait);
    });
    return all;
  }

  /// Nobody can go on: says who waits for whom.
  [[noreturn]] void stuck(const std::function<void(unsigned)>& enter) {
    unsigned who = 0;
    while (threads_[who].ended) ++who;
    for (unsigned t = 0; t < threads_.size(); ++t)  // a barrier of the block says more
      if (at_barrier_ > 0 && !threads_[who].at_barrier() && threads_[t].at_barrier()) who = t;
    enter(who);
    const Wait& wait = threads_[who].wait;
    std::ostringstream text;
    if (threads_[who].at_barrier()) {
      text << "the barrier at " << said(wait.place)
           << " is not reached by all threads: " << at_barrier_ << " of " << threads_.size()
           << " wait there, not thread ";
      unsigned other = 0;
      while (threads_[other].at_barrier()) ++other;
      text << other << state(other);
    } else {
      text << wait.op << " at " << said(wait.place) << " with mask 0x" << std::hex << wait.mask
           << std::dec << " waits for lane ";
      const unsigned first = who / kWarp * kWarp;
      bool found = false;
      for_lanes(first, wait.mask, [&](unsigned t) {
        if (found || (t < threads_.size() && same(threads_[t].wait, wait))) return;
        found = true;
        text << t - first << state(t);
      });
    }
    fault(text.str());
  }

  static bool same(const Wait& a, const Wait& b) {
    return a.op != nullptr && std::string(a.op) == b.op && a.mask == b.mask;
  }

  std::string state(unsigned t) const {
    if (t >= threads_.size()) return ", which the block does not have";
    if (threads_[t].ended) return ", which has ended";
    return ", which waits in " + std::string(threads_[t].wait.op) + " at " +
           said(threads_[t].wait.place);
  }

  std::vector<Thread> threads_;
  std::uint64_t seed_;
  std::function<void()> body_;
  std::vector<std::max_align_t> shared_;
  Memory shared_memory_;
  std::vector<unsigned> ready_;
  unsigned self_ = 0;
  std::size_t at_barrier_ = 0;
  std::exception_ptr error_;
};

}  // namespace cmad::emulate
