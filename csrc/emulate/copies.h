#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <vector>

#include "emulate/memory.h"

namespace cmad::emulate {

/// The asynchronous copies of one thread. They arrive as late as they may: when it waits.
class Copies {
 public:
  using Bytes = std::array<unsigned char, 16>;

  void begin(Memory* memory, void* to, const Bytes& bytes) {
    memory->begin_copy(to, bytes.size());
    open_.push_back({memory, to, bytes});
  }
  void commit() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  void wait(std::size_t newest) {
    for (; groups_.size() > newest; groups_.pop_front())
      for (const Copy& copy : groups_.front())
        copy.memory->end_copy(copy.to, copy.bytes.data(), copy.bytes.size());
  }

 private:
  struct Copy {
    Memory* memory;
    void* to;
    Bytes bytes;
  };
  std::vector<Copy> open_;  // of no group yet
  std::deque<std::vector<Copy>> groups_;
};

}  // namespace cmad::emulate
