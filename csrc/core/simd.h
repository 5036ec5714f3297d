#pragma once

#include <cstdint>  // defines __GLIBC__ where there is one

/// Put before a function with a hot loop: it is compiled for AVX-512, AVX2 and the baseline, and
/// the loader picks by the machine it runs on (GNU C library, GCC 12 or later). Results are equal
/// (the build forbids contraction).
#if defined(__x86_64__) && defined(__GLIBC__) && __GNUC__ >= 12 && !defined(__clang__)
#define CMAD_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CMAD_SIMD
#endif
