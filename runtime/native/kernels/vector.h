// Vectors of one instruction set: GCC's and Clang's own types, and intrinsics only where a mask is meant.
#pragma once
#include <stdint.h>
#include <string.h>

#if ISA_AVX512
#include <immintrin.h>
#define ISA avx512
#elif ISA_AVX2
#include <immintrin.h>
#define ISA avx2
#elif ISA_NEON
#define ISA neon
#else
#define ISA portable
#endif
#ifndef ISA_AVX512
#define ISA_AVX512 0
#endif
#ifndef ISA_NEON
#define ISA_NEON 0
#endif

namespace secateur {
namespace ISA {

#if ISA_AVX512
constexpr int V = 16;
#elif ISA_AVX2
constexpr int V = 8;
#else
constexpr int V = 4;
#endif

typedef float vec __attribute__((vector_size(V * 4)));
typedef int32_t veci __attribute__((vector_size(V * 4)));
typedef float vec4 __attribute__((vector_size(16)));
#define INLINE static inline __attribute__((always_inline))

template <class T>
INLINE T load(const void* p) {
  T v;
  memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
INLINE void store(void* p, T v) {
  memcpy(p, &v, sizeof v);
}
INLINE vec splat(float f) { return f - vec{}; }

constexpr uint32_t kAll = (uint32_t(1) << V) - 1;

// Lanes of the mask; no other address is touched.
INLINE vec load_some(const float* p, uint32_t mask) {
#if ISA_AVX512
  return (vec)_mm512_maskz_loadu_ps((__mmask16)mask, p);
#else
  if (mask == kAll) return load<vec>(p);
#endif
#if ISA_AVX512
#elif ISA_AVX2
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  __m256i on = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(int(mask)), bits), bits);
  return (vec)_mm256_maskload_ps(p, on);
#else
  vec v{};
  for (int i = 0; i < V; i++) {
    if (mask >> i & 1) v[i] = p[i];
  }
  return v;
#endif
}
INLINE void store_some(float* p, vec v, uint32_t mask) {
  if (mask == kAll) return store(p, v);
#if ISA_AVX512
  _mm512_mask_storeu_ps(p, (__mmask16)mask, (__m512)v);
#elif ISA_AVX2
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  __m256i on = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(int(mask)), bits), bits);
  _mm256_maskstore_ps(p, on, (__m256)v);
#else
  for (int i = 0; i < V; i++) {
    if (mask >> i & 1) p[i] = v[i];
  }
#endif
}

// Four weights by one load, in every four lanes; `pick` spreads one of them.
INLINE vec four(const float* p) {
  vec4 w = load<vec4>(p);
#if ISA_AVX512
  return __builtin_shufflevector(w, w, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
#elif ISA_AVX2
  return __builtin_shufflevector(w, w, 0, 1, 2, 3, 0, 1, 2, 3);
#else
  return w;
#endif
}
template <int K>
INLINE vec pick(vec w) {
#if ISA_AVX512
  return __builtin_shufflevector(w, w, K, K, K, K, 4 + K, 4 + K, 4 + K, 4 + K, 8 + K, 8 + K, 8 + K, 8 + K, 12 + K, 12 + K,
                                 12 + K, 12 + K);
#elif ISA_AVX2
  return __builtin_shufflevector(w, w, K, K, K, K, 4 + K, 4 + K, 4 + K, 4 + K);
#else
  return __builtin_shufflevector(w, w, K, K, K, K);
#endif
}

template <int N>
struct Number {
  static constexpr int value = N;
};

// Keeps the compiler from turning one wide load back into several narrow ones: memory operations are what limits.
INLINE void keep(vec& v) {
#if defined(__x86_64__)
  __asm__("" : "+v"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#else
  (void)v;
#endif
}
INLINE void keep(uint64_t& v) { __asm__("" : "+r"(v)); }

}  // namespace ISA
}  // namespace secateur
