#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <memory>
#include <vector>

#if defined(__has_feature)
#define CMAD_ASAN __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define CMAD_ASAN 1
#else
#define CMAD_ASAN 0
#endif
#if CMAD_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace cmad::emulate {

/// A function with a stack of its own: it runs when entered, until it leaves or ends, and goes on
/// from there when entered again. AddressSanitizer is told of each change of stacks.
class Fibre {
 public:
  static constexpr std::size_t kStack = 128 * 1024;

  /// Begins anew. `body` must call `arrived()` first and `leave(true)` last. What an earlier body
  /// left on the stack is forgotten, not unwound.
  void begin(char* stack, void (*body)()) {
    stack_ = stack;
    begun_ = false;
#if CMAD_ASAN
    __asan_unpoison_memory_region(stack, kStack);
    own_fake_ = nullptr;
#endif
    getcontext(&beginning_);
    beginning_.uc_stack.ss_sp = stack;
    beginning_.uc_stack.ss_size = kStack;
    beginning_.uc_link = nullptr;
    makecontext(&beginning_, body, 0);
  }

  void enter() {
#if CMAD_ASAN
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack_, kStack);
#endif
    // swapcontext() asks the system for the signal mask, which takes longer than all else.
    if (_setjmp(back_) == 0) {
      if (begun_) _longjmp(own_, 1);
      begun_ = true;
      setcontext(&beginning_);
    }
#if CMAD_ASAN
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  }

  /// The fibre runs again, on its own stack.
  void arrived() {
#if CMAD_ASAN
    __sanitizer_finish_switch_fiber(own_fake_, &back_stack_, &back_size_);
#endif
  }

  /// Back to where `enter` was called; `for_good` where the function has ended.
  void leave(bool for_good = false) {
#if CMAD_ASAN
    __sanitizer_start_switch_fiber(for_good ? nullptr : &own_fake_, back_stack_, back_size_);
#else
    static_cast<void>(for_good);
#endif
    if (_setjmp(own_) == 0) _longjmp(back_, 1);
    arrived();
  }

  /// Stacks for `n` fibres, kept for the next that ask.
  static char* const* stacks(std::size_t n) {
    static thread_local std::vector<std::unique_ptr<char[]>> kept;
    static thread_local std::vector<char*> given;
    while (kept.size() < n) {
      kept.emplace_back(new char[kStack]);
      given.push_back(kept.back().get());
    }
    return given.data();
  }

 private:
  ucontext_t beginning_;
  jmp_buf own_, back_;
  bool begun_ = false;
  char* stack_ = nullptr;
#if CMAD_ASAN
  void* own_fake_ = nullptr;
  const void* back_stack_ = nullptr;
  std::size_t back_size_ = 0;
#endif
};

}  // namespace cmad::emulate
