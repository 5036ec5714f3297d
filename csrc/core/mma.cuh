#pragma once

#include <cuda_fp16.h>

#include "core/launch.cuh"

// Products of small matrices by a warp, and copies to shared memory that go on beside it: single
// instructions, of sm_80 and later. csrc/emulate/core/mma.cuh has the same functions for the host.
// Lane l of the warp holds of a matrix, with r = l / 4 and c = l % 4 * 2, in each register the
// elements of columns c and c + 1, the first in the lower half. All lanes must take part.
//
// Rows lie in `dynamic_shared`: what is declared as `Shared` may begin at any element.

namespace cmad {

/// sum += A B^T of A [16][16] and B [8][16]: `a` rows r and r + 8 of columns 0 to 7, then of 8 to
/// 15; `b0`, `b1` row r of columns 0 to 7 and 8 to 15; `sum` [16][8] row r, then r + 8.
__device__ inline void mma_m16n8k16(float (&sum)[4], const unsigned (&a)[4], unsigned b0,
                                    unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// The same of A [16][32], unsigned bytes, and B [8][32], signed, each register with four columns
/// c = l % 4 * 4 to c + 3 of 16: `a` rows r and r + 8 of columns 0 to 15, then of 16 to 31.
__device__ inline void mma_m16n8k32(int (&sum)[4], const unsigned (&a)[4], unsigned b0,
                                    unsigned b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// sum + the products of four unsigned and four signed bytes.
__device__ inline int dot4(unsigned a, unsigned b, int sum) {
  asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
  return sum;
}

__device__ inline unsigned shared_address(const void* at) {
  return unsigned(__cvta_generic_to_shared(at));
}

/// Loads four matrices [8][8] of which lane l names row l % 8 of matrix l / 8, 16 bytes aligned to
/// as many: `to[m]` is row r of matrix m.
__device__ inline void ldmatrix_x4(unsigned (&to)[4], Pointer<const __half> row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The same of the matrices turned round: `to[m]` is column r of matrix m.
__device__ inline void ldmatrix_x4_trans(unsigned (&to)[4], Pointer<const __half> row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}

/// Begins to copy 16 bytes, aligned to as many, to shared memory; zeros if not `there`, and then
/// `from` is not read. Nobody may use them before this thread has waited for the copy's group, and
/// other threads not before a barrier after that.
template <class T>
__device__ inline void cp_async_16(T* to, const T* from, bool there = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(shared_address(to)), "l"(__cvta_generic_to_global(from)), "r"(there ? 16 : 0)
               : "memory");
}

/// Makes a group of the copies that this thread began since its last group.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits for this thread's groups but the `newest`.
template <int newest>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(newest) : "memory");
}

}  // namespace cmad
