// The inner loops of quantised layers: sums of 64 pixels over the entries of a block, four entries at a time.
#pragma once
#include "byte_tile.h"
#if ISA_NEON
#include <arm_neon.h>
#endif

namespace secateur {
namespace ISA {
namespace {

typedef uint32_t words16 __attribute__((vector_size(64)));
#define MEMBER __attribute__((always_inline)) inline

// Rows at four offsets, and weights of four entries for each output of the unit.
struct Four {
  const uint8_t *row[4], *weights;
};
INLINE Four four_rows(const uint8_t* rows, const uint8_t* offsets, const uint8_t* weights) {
  uint64_t o = load<uint64_t>(offsets);
  keep(o);
  return {{rows + 8 * size_t(uint16_t(o)), rows + 8 * size_t(uint16_t(o >> 16)), rows + 8 * size_t(uint16_t(o >> 32)),
           rows + 8 * size_t(uint16_t(o >> 48))}, weights};
}

#if ISA_AVX512
// Bytes of four rows are interleaved within lanes of 16 bytes: vector k of the sums holds pixels 16 l + 4 k + 0 .. 3 in lane l.
template <int SHARE>
struct Sums {
  static constexpr int kPart = 64;  // pixels at a time
  __m512i c[SHARE][4];
  MEMBER void set(const int32_t* start) {
    for (int p = 0; p < SHARE; p++) {
      for (int k = 0; k < 4; k++) c[p][k] = _mm512_set1_epi32(start[p]);
    }
  }
  MEMBER void get(int32_t* sums) {
    for (int p = 0; p < SHARE; p++) {
      for (int k = 0; k < 4; k++) c[p][k] = _mm512_loadu_si512(sums + p * kByteRow + 16 * k);
    }
  }
  MEMBER void put(int32_t* sums) {
    for (int p = 0; p < SHARE; p++) {
      for (int k = 0; k < 4; k++) _mm512_storeu_si512(sums + p * kByteRow + 16 * k, c[p][k]);
    }
  }
  MEMBER void add(const Four& f, int) {
    __m512i r0 = _mm512_loadu_si512(f.row[0]), r1 = _mm512_loadu_si512(f.row[1]);
    __m512i r2 = _mm512_loadu_si512(f.row[2]), r3 = _mm512_loadu_si512(f.row[3]);
    __m512i l0 = _mm512_unpacklo_epi8(r0, r1), h0 = _mm512_unpackhi_epi8(r0, r1);
    __m512i l1 = _mm512_unpacklo_epi8(r2, r3), h1 = _mm512_unpackhi_epi8(r2, r3);
    __m512i x[4] = {_mm512_unpacklo_epi16(l0, l1), _mm512_unpackhi_epi16(l0, l1), _mm512_unpacklo_epi16(h0, h1),
                    _mm512_unpackhi_epi16(h0, h1)};
    for (int p = 0; p < SHARE; p++) {
      __m512i w = _mm512_set1_epi32(load<int32_t>(f.weights + 4 * p));
      for (int k = 0; k < 4; k++) c[p][k] = _mm512_dpbusd_epi32(c[p][k], x[k], w);
    }
  }
};
#elif ISA_AVX2
// Words of two rows are interleaved within lanes: of each 16 pixels, the first vector holds 0 .. 3 and 8 .. 11.
template <int SHARE>
struct Sums {
  static constexpr int kPart = SHARE == 4 ? 16 : 32, N = kPart / 8;
  __m256i c[SHARE][N];
  MEMBER void set(const int32_t* start) {
    for (int p = 0; p < SHARE; p++) {
      for (int k = 0; k < N; k++) c[p][k] = _mm256_set1_epi32(start[p]);
    }
  }
  MEMBER void get(int32_t* sums) {
    for (int p = 0; p < SHARE; p++) {
      for (int k = 0; k < N; k++) c[p][k] = load<__m256i>(sums + p * kByteRow + 8 * k);
    }
  }
  MEMBER void put(int32_t* sums) {
    for (int p = 0; p < SHARE; p++) {
      for (int k = 0; k < N; k++) store(sums + p * kByteRow + 8 * k, c[p][k]);
    }
  }
  MEMBER void add(const Four& f, int at) {
    __m256i w0[SHARE], w1[SHARE];
    for (int p = 0; p < SHARE; p++) {
      __m256i w = _mm256_cvtepi8_epi16(_mm_set1_epi32(load<int32_t>(f.weights + 4 * p)));
      w0[p] = _mm256_shuffle_epi32(w, 0xa0), w1[p] = _mm256_shuffle_epi32(w, 0xf5);
    }
    for (int k = 0; k < N; k += 2) {
      __m256i r[4];
      for (int i = 0; i < 4; i++) r[i] = _mm256_cvtepu8_epi16(load<__m128i>(f.row[i] + at + 8 * k));
      __m256i l0 = _mm256_unpacklo_epi16(r[0], r[1]), h0 = _mm256_unpackhi_epi16(r[0], r[1]);
      __m256i l1 = _mm256_unpacklo_epi16(r[2], r[3]), h1 = _mm256_unpackhi_epi16(r[2], r[3]);
      for (int p = 0; p < SHARE; p++) {
        c[p][k] = _mm256_add_epi32(c[p][k], _mm256_add_epi32(_mm256_madd_epi16(l0, w0[p]), _mm256_madd_epi16(l1, w1[p])));
        c[p][k + 1] = _mm256_add_epi32(c[p][k + 1], _mm256_add_epi32(_mm256_madd_epi16(h0, w0[p]), _mm256_madd_epi16(h1, w1[p])));
      }
    }
  }
};
#elif ISA_NEON
template <int SHARE>
struct Sums {
  static constexpr int kPart = 16;
  int32x4_t c[SHARE][4];
  MEMBER void set(const int32_t* start) {
    for (int p = 0; p < SHARE; p++) {
      for (int k = 0; k < 4; k++) c[p][k] = vdupq_n_s32(start[p]);
    }
  }
  MEMBER void get(int32_t* sums) {
    for (int p = 0; p < SHARE; p++) {
      for (int k = 0; k < 4; k++) c[p][k] = vld1q_s32(sums + p * kByteRow + 4 * k);
    }
  }
  MEMBER void put(int32_t* sums) {
    for (int p = 0; p < SHARE; p++) {
      for (int k = 0; k < 4; k++) vst1q_s32(sums + p * kByteRow + 4 * k, c[p][k]);
    }
  }
  MEMBER void add(const Four& f, int at) {
    for (int e = 0; e < 4; e++) {
      uint8x16_t r = vld1q_u8(f.row[e] + at);
      int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(r))), high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(r)));
      for (int p = 0; p < SHARE; p++) {
        int16_t w = int8_t(f.weights[4 * p + e]);
        c[p][0] = vmlal_n_s16(c[p][0], vget_low_s16(low), w);
        c[p][1] = vmlal_n_s16(c[p][1], vget_high_s16(low), w);
        c[p][2] = vmlal_n_s16(c[p][2], vget_low_s16(high), w);
        c[p][3] = vmlal_n_s16(c[p][3], vget_high_s16(high), w);
      }
    }
  }
};
#else
template <int SHARE>
struct Sums {
  static constexpr int kPart = 16;
  words16 c[SHARE];  // unsigned: they may wrap
  MEMBER void set(const int32_t* start) {
    for (int p = 0; p < SHARE; p++) c[p] = uint32_t(start[p]) - words16{};
  }
  MEMBER void get(int32_t* sums) {
    for (int p = 0; p < SHARE; p++) c[p] = load<words16>(sums + p * kByteRow);
  }
  MEMBER void put(int32_t* sums) {
    for (int p = 0; p < SHARE; p++) store(sums + p * kByteRow, c[p]);
  }
  MEMBER void add(const Four& f, int at) {
    for (int e = 0; e < 4; e++) {
      words16 x = __builtin_convertvector(load<bytes16>(f.row[e] + at), words16);
      for (int p = 0; p < SHARE; p++) c[p] += x * uint32_t(int32_t(int8_t(f.weights[4 * p + e])));
    }
  }
};
#endif

// One visit; begin and end get the sums of a part of its pixels. Returns the next.
template <int SHARE, class Begin, class End>
INLINE const uint8_t* byte_visit(const uint8_t* s, uint32_t entries, const uint8_t* rows, Begin begin, End end) {
  const uint8_t *offsets = s + 4, *weights = offsets + 2 * size_t(entries);
  for (int at = 0; at < kByteRow; at += Sums<SHARE>::kPart) {
    Sums<SHARE> c;
    begin(c, at);
    for (uint32_t e = 0; e < entries; e += 4) c.add(four_rows(rows, offsets + 2 * size_t(e), weights + size_t(e) * SHARE), at);
    end(c, at);
  }
  return weights + size_t(entries) * SHARE;
}

template <int SHARE>
__attribute__((noinline)) void byte_visits(const uint8_t* s, uint32_t visits, uint32_t entries, const uint8_t* rows, int32_t* all_sums) {
  for (uint32_t i = 0; i < visits; i++) {
    int32_t* sums = all_sums + size_t(load<uint16_t>(s)) * kByteRow;
    s = byte_visit<SHARE>(s, entries, rows, [&](Sums<SHARE>& c, int at) { c.get(sums + at); },
                          [&](Sums<SHARE>& c, int at) { c.put(sums + at); });
  }
}

// 64 sums in the order of pixels.
INLINE void natural(const int32_t* sums, int32_t* out) {
#if ISA_AVX512
  for (int k = 0; k < 4; k++) {
    for (int l = 0; l < 4; l++) store(out + 16 * l + 4 * k, load<bytes16>(sums + 16 * k + 4 * l));
  }
#elif ISA_AVX2
  for (int i = 0; i < kByteRow; i += 16) {
    for (int k = 0; k < 2; k++) {
      store(out + i + 4 * k, load<bytes16>(sums + i + 8 * k));
      store(out + i + 8 + 4 * k, load<bytes16>(sums + i + 8 * k + 4));
    }
  }
#else
  memcpy(out, sums, kByteRow * 4);
#endif
}

}  // namespace
}  // namespace ISA
}  // namespace secateur
