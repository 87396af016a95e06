// Sums of a quantised layer to numbers of its output, and their writing.
#pragma once
#include "byte_visits.h"

namespace secateur {
namespace ISA {
namespace {

typedef float floats16 __attribute__((vector_size(64)));
typedef int32_t ints16 __attribute__((vector_size(64)));

// How sums become numbers of the output.
struct Ending {
  bool offsets;
  float low, high;
  int32_t zero;  // added to the rounded number; the result is 0 .. 255 and `flip` makes it signed
  uint8_t flip, least, most;  // least and most: low and high as such results
};
INLINE int32_t rounded(float f) {
  const float kRound = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  f += kRound;
  return int32_t(load<uint32_t>(&f) - 0x4b400000u);
}
Ending ending(const Job& job) {
  const Quantised& q = job.layer->quantised;
  const Packed& p = *job.packed;
  bool is_signed = q.out == Type::int8;
  Ending e{p.offsets, p.low, p.high, q.out_zero + (is_signed ? 128 : 0), uint8_t(is_signed ? 128 : 0), 0, 255};
  if (q.out != Type::float32) e.least = uint8_t(rounded(e.low) + e.zero), e.most = uint8_t(rounded(e.high) + e.zero);
  return e;
}

// Rounded half to even, as in ONNX Runtime.
INLINE void to_bytes(const int32_t* sums, float scale, float offset, const Ending& e, uint8_t* out) {
#if ISA_AVX512
  // Packing saturates, but what is too large for int32 would turn negative. Bounds of bytes come last, and cost least there.
  const __m512 by = _mm512_set1_ps(scale), most = _mm512_set1_ps(1e9f);
  const __m512i zero = _mm512_set1_epi16(short(e.zero));
  __m512 f[4];
  for (int k = 0; k < 4; k++) f[k] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + 16 * k)), by);
  if (e.offsets) {
    for (int k = 0; k < 4; k++) f[k] = _mm512_add_ps(f[k], _mm512_set1_ps(offset));
  }
  __m512i r[4];
  for (int k = 0; k < 4; k++) r[k] = _mm512_cvtps_epi32(_mm512_min_ps(f[k], most));
  __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(r[0], r[1]), zero), high = _mm512_adds_epi16(_mm512_packs_epi32(r[2], r[3]), zero);
  __m512i bytes = _mm512_max_epu8(_mm512_packus_epi16(low, high), _mm512_set1_epi8(char(e.least)));
  bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(char(e.most)));
  _mm512_storeu_si512(out, _mm512_xor_si512(bytes, _mm512_set1_epi8(char(e.flip))));
#else
  int32_t n[kByteRow];
  natural(sums, n);
  const float kRound = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  for (int i = 0; i < kByteRow; i += 16) {
    floats16 f = __builtin_convertvector(load<ints16>(n + i), floats16) * scale + offset;
    f = f < e.low ? e.low - floats16{} : f;
    f = f > e.high ? e.high - floats16{} : f;
    words16 r = (words16)(f + kRound) - 0x4b400000u + uint32_t(e.zero);
    store(out + i, __builtin_convertvector(r, bytes16) ^ e.flip);
  }
#endif
}
INLINE void to_floats(const int32_t* sums, float scale, float offset, const Ending& e, float* out) {
  int32_t n[kByteRow];
  natural(sums, n);
  for (int i = 0; i < kByteRow; i += 16) {
    floats16 f = __builtin_convertvector(load<ints16>(n + i), floats16) * scale + offset;
    f = f < e.low ? e.low - floats16{} : f;
    store(out + i, f > e.high ? e.high - floats16{} : f);
  }
}

// Sums of one output, at a place of the order, to its plane.
void finish(const Job& job, const ByteTile& tile, int64_t place, const int32_t* sums, const Ending& e) {
  const float scale = job.packed->scales[size_t(place)], offset = job.packed->bias[size_t(place)];
  int64_t plane = (tile.image * job.layer->outputs + job.packed->output(place)) * job.height * job.width;
  if (job.layer->quantised.out == Type::float32) {
    float made[kByteRow], *to = static_cast<float*>(job.out) + plane;
    to_floats(sums, scale, offset, e, made);
    for (int i = 0; i < tile.span_count; i++) {
      const ByteSpan& s = tile.spans[i];
      memcpy(to + s.y * job.width + s.x, made + s.lane, size_t(s.count) * 4);
    }
    return;
  }
  uint8_t made[kByteRow], *to = static_cast<uint8_t*>(job.out) + plane;
  const ByteSpan& first = tile.spans[0];
  const ByteSpan& last = tile.spans[tile.span_count - 1];
  if (tile.pixels == kByteRow && int64_t(last.y - first.y) * job.width + last.x - first.x == last.lane) {  // they lie in one piece
    to_bytes(sums, scale, offset, e, to + first.y * job.width + first.x);
    return;
  }
  to_bytes(sums, scale, offset, e, made);
  for (int i = 0; i < tile.span_count; i++) {
    const ByteSpan& s = tile.spans[i];
    copy(to + s.y * job.width + s.x, made + s.lane, s.count);
  }
}

// Four lines of four floats change places with columns.
INLINE void turn_floats(const float* from, int64_t from_pitch, float* to, int64_t to_pitch) {
  vec4 r0 = load<vec4>(from), r1 = load<vec4>(from + from_pitch), r2 = load<vec4>(from + 2 * from_pitch), r3 = load<vec4>(from + 3 * from_pitch);
  vec4 l0 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), h0 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
  vec4 l1 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), h1 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  store(to, __builtin_shufflevector(l0, l1, 0, 1, 4, 5));
  store(to + to_pitch, __builtin_shufflevector(l0, l1, 2, 3, 6, 7));
  store(to + 2 * to_pitch, __builtin_shufflevector(h0, h1, 0, 1, 4, 5));
  store(to + 3 * to_pitch, __builtin_shufflevector(h0, h1, 2, 3, 6, 7));
}

// Sums of a matrix: sixteen outputs at a time are turned.
void finish_tokens(const Job& job, const Panel& panel, int64_t first, int64_t tokens, const int32_t* sums, const Ending& e) {
  const int64_t outputs = job.layer->outputs;
  const Packed& p = *job.packed;
  for (int64_t o = 0; o < panel.outputs; o += 16) {
    int64_t n = panel.outputs - o < 16 ? panel.outputs - o : 16, at = panel.output + o;
    if (job.layer->quantised.out == Type::float32) {
      float made[16][kByteRow], *to = static_cast<float*>(job.out) + first * outputs + at;
      for (int64_t i = 0; i < n; i++) to_floats(sums + (o + i) * kByteRow, p.scales[size_t(at + i)], p.bias[size_t(at + i)], e, made[i]);
      for (int64_t m = 0; m < tokens; m += 4) {
        for (int64_t i = 0; i < n; i += 4) {
          if (i + 4 <= n && m + 4 <= tokens) {
            turn_floats(made[i] + m, kByteRow, to + m * outputs + i, outputs);
            continue;
          }
          for (int64_t k = m; k < m + 4 && k < tokens; k++) {
            for (int64_t j = i; j < i + 4 && j < n; j++) to[k * outputs + j] = made[j][k];
          }
        }
      }
      continue;
    }
    uint8_t made[16][kByteRow], *to = static_cast<uint8_t*>(job.out) + first * outputs + at;
    for (int64_t i = 0; i < n; i++) to_bytes(sums + (o + i) * kByteRow, p.scales[size_t(at + i)], p.bias[size_t(at + i)], e, made[i]);
    for (int64_t m = 0; m < tokens; m += 16) {
      if (n == 16 && m + 16 <= tokens) {
        bytes16 a[16];
        for (int i = 0; i < 16; i++) a[i] = load<bytes16>(made[i] + m);
        turn(a);
        for (int i = 0; i < 16; i++) store(to + (m + i) * outputs, a[i]);
        continue;
      }
      for (int64_t k = m; k < m + 16 && k < tokens; k++) {
        for (int64_t i = 0; i < n; i++) to[k * outputs + i] = made[i][k];
      }
    }
  }
}

}  // namespace
}  // namespace ISA
}  // namespace secateur
