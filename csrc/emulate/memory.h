#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// What the emulator knows of memory: where arrays end, what was written, and by whom, so that an
// access that only the order of threads keeps right is a fault in every order.

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace cmad::emulate {

constexpr unsigned kWarp = 32;
constexpr unsigned char kPoison = 0xff;  // NaN as a number, -1 as an index, at once visible as size

/// A mistake of a kernel; the message names the kernel, the block and the thread.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A line of the kernel's source.
struct Place {
  const char* file;
  int line;
};
inline bool operator==(const Place& a, const Place& b) {
  return a.line == b.line && std::strcmp(a.file, b.file) == 0;
}
inline std::string said(const Place& place) {
  const std::string file = place.file;
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(place.line);
}
inline std::string said(const dim3& at) {
  std::ostringstream text;
  text << "(" << at.x << ", " << at.y << ", " << at.z << ")";
  return text.str();
}

/// How far a thread is. Barriers order it after its block, the clocks after lanes of its warp: of
/// each lane, how many of its warp barriers this thread knows to be behind them both.
struct Progress {
  std::uint32_t barriers = 0;
  std::array<std::uint32_t, kWarp> clock = {};
};

/// The thread that runs.
struct Now {
  const char* kernel = nullptr;  // null outside a launch
  std::uint32_t launch = 0;      // counted from 1
  std::uint32_t block = 0, thread = 0;
  dim3 block_index, thread_index;
  Progress* progress = nullptr;
};
inline thread_local Now now;

[[noreturn]] inline void fault(const std::string& what) {
  if (now.kernel == nullptr) throw Fault("outside a kernel: " + what);
  throw Fault(std::string(now.kernel) + ", block " + said(now.block_index) + ", thread " +
              said(now.thread_index) + ": " + what);
}

/// What GPUs refuse, and a CPU may not.
template <class T>
void aligned(const T* at) {
  if (reinterpret_cast<std::uintptr_t>(at) % alignof(T) != 0)
    fault("uses an element that is not aligned to " + std::to_string(alignof(T)) + " bytes");
}

/// An access: by whom and when.
struct Stamp {
  std::uint32_t launch = 0, block = 0, thread = 0, barriers = 0, clock = 0;  // launch 0: never
};
inline Stamp stamp() {
  const std::uint32_t clock = now.progress->clock[now.thread % kWarp];
  return {now.launch, now.block, now.thread, now.progress->barriers, clock};
}

/// Whether an access surely came before what the running thread does now.
inline bool before_now(const Stamp& s) {
  if (s.launch != now.launch) return true;  // launches of one stream follow each other
  if (s.block != now.block) return false;
  if (s.thread == now.thread || s.barriers < now.progress->barriers) return true;
  return s.thread / kWarp == now.thread / kWarp && s.clock <= now.progress->clock[s.thread % kWarp];
}

/// An array and the history of its elements.
class Memory {
 public:
  /// `written`: it holds values from before the launch; else it is poisoned.
  Memory(void* begin, std::size_t bytes, std::size_t element, bool written, std::string what)
      : begin_(static_cast<char*>(begin)),
        bytes_(bytes),
        element_(element),
        cells_(bytes / element, Cell{{}, {}, {}, written, false}),
        what_(std::move(what)) {
    if (!written && bytes > 0) std::memset(begin_, kPoison, bytes_);
  }

  bool holds(const void* at) const { return begin_ <= at && at < begin_ + bytes_; }
  char* begin() const { return begin_; }

  void read(const void* at, std::size_t size) {
    each(at, size, "reads", [&](Cell& cell) {
      settled(cell, at, size, "reads");
      if (!cell.written) fault("reads " + element(at, size) + ", which nothing wrote");
      ordered(cell.write, at, size, "reads", "wrote");
      ordered(cell.atomic, at, size, "reads", "updated");
      const Stamp last = cell.read[0];
      if (last.thread != now.thread || last.block != now.block) cell.read[1] = last;
      cell.read[0] = stamp();
    });
  }

  /// Two threads may write the same value without an order between them.
  void write(void* at, const void* value, std::size_t size) {
    bool same = false;
    each(at, size, "writes", [&](Cell& cell) {
      settled(cell, at, size, "writes");
      same = same || std::memcmp(at, value, size) == 0;
      if (!same) ordered(cell.write, at, size, "writes", "wrote");
      ordered(cell.atomic, at, size, "writes", "updated");
      for (const Stamp& read : cell.read) ordered(read, at, size, "writes", "read");
      cell = {stamp(), {}, {}, true, false};
    });
    std::memcpy(at, value, size);
  }

  /// From here until `end_copy`, by the same thread, the elements are nobody's.
  void begin_copy(void* at, std::size_t size) {
    each(at, size, "copies", [&](Cell& cell) {
      settled(cell, at, size, "copies to");
      ordered(cell.write, at, size, "copies to", "wrote");
      ordered(cell.atomic, at, size, "copies to", "updated");
      for (const Stamp& read : cell.read) ordered(read, at, size, "copies to", "read");
      cell = {stamp(), {}, {}, false, true};
    });
    std::memset(at, kPoison, size);
  }
  void end_copy(void* at, const void* value, std::size_t size) {
    each(at, size, "copies", [&](Cell& cell) { cell = {stamp(), {}, {}, true, false}; });
    std::memcpy(at, value, size);
  }

  /// Reads and writes at once; needs no order with other atomics.
  void atomic(const void* at, std::size_t size) {
    each(at, size, "updates", [&](Cell& cell) {
      settled(cell, at, size, "updates");
      if (!cell.written) fault("updates " + element(at, size) + ", which nothing wrote");
      ordered(cell.write, at, size, "updates", "wrote");
      for (const Stamp& read : cell.read) ordered(read, at, size, "updates", "read");
      cell.atomic = stamp();
    });
  }

 private:
  struct Cell {
    Stamp write, atomic;        // the last ones
    std::array<Stamp, 2> read;  // the last two threads that read; more would only find more
    bool written;
    bool copied;  // an asynchronous copy is on its way here
  };

  template <class F>
  void each(const void* at, std::size_t size, const char* does, F&& f) {
    if (now.kernel == nullptr) fault(std::string(does) + " " + what_);
    const std::ptrdiff_t first = static_cast<const char*>(at) - begin_;
    if (first < 0 || first + size > bytes_)
      fault(std::string(does) + " outside: " + element(at, size));
    for (std::size_t i = first / element_; i * element_ < first + size; ++i) f(cells_[i]);
  }

  void settled(const Cell& cell, const void* at, std::size_t size, const char* does) const {
    if (!cell.copied) return;
    fault(std::string(does) + " " + element(at, size) + ", to which thread " +
          std::to_string(cell.write.thread) + " copies and has not waited");
  }

  /// Another thread's access must come before, and not only by chance.
  void ordered(const Stamp& other, const void* at, std::size_t size, const char* does,
               const char* did) const {
    if (before_now(other)) return;
    std::ostringstream text;
    text << does << " " << element(at, size) << ", which thread " << other.thread;
    if (other.block != now.block) text << " of block " << other.block;
    text << " " << did << " with no barrier between them";
    fault(text.str());
  }

  std::string element(const void* at, std::size_t size) const {
    const std::ptrdiff_t bytes = static_cast<const char*>(at) - begin_;
    const auto wide = std::ptrdiff_t(size);
    const std::ptrdiff_t index = bytes >= 0 ? bytes / wide : (bytes - wide + 1) / wide;
    return "element " + std::to_string(index) + " of " + std::to_string(bytes_ / size) + " of " +
           what_;
  }

  char* begin_;
  std::size_t bytes_, element_;
  std::vector<Cell> cells_;
  std::string what_;
};

/// The arrays in global memory that kernels of this call may use.
inline thread_local std::vector<Memory*> arrays;

/// An array while this object lives.
class Registered {
 public:
  template <class... Arguments>
  explicit Registered(Arguments&&... arguments) : memory_(std::forward<Arguments>(arguments)...) {
    arrays.push_back(&memory_);
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;
  ~Registered() { arrays.erase(std::find(arrays.begin(), arrays.end(), &memory_)); }

 private:
  Memory memory_;
};

inline bool is_global(const Memory* memory) {
  return std::find(arrays.begin(), arrays.end(), memory) != arrays.end();
}

/// The registered array that holds an address; one without elements where there is none, as for
/// an array of no elements.
inline Memory* memory_of(const void* at) {
  static thread_local Memory none(nullptr, 0, 1, true, "an array that is empty or was not given");
  for (Memory* memory : arrays)
    if (memory->holds(at)) return memory;
  return &none;
}

}  // namespace cmad::emulate
