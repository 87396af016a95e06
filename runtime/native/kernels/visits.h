// The inner loops: sums of outputs over the entries of a block, with the sums in registers.
#pragma once
#include "packed.h"
#include "vector.h"

namespace secateur {
namespace ISA {

// Visits of one group. `x` holds rows of vectors; an offset counts `pitch` bytes (8 where rows are packed).
struct Visits {
  const uint8_t* stream;
  const char* x;
  float* sums;
  uint32_t visits, entries;
  size_t pitch;
};

// One visit: OUTPUTS * SHARE sums of T vectors. entries % 4 == TAIL.
template <int T, int OUTPUTS, int SHARE, int TAIL, bool FAR>
INLINE const uint8_t* accumulate(const Visits& v, const uint8_t* s, vec (&c)[OUTPUTS * SHARE][T]) {
  const uint32_t quads = v.entries / 4;
  const uint8_t* offsets = s + 4;
  const float* weights = reinterpret_cast<const float*>(offsets + (v.entries + 1) / 2 * 4);
  auto some = [&](auto how_many) __attribute__((always_inline)) {
    constexpr int N = decltype(how_many)::value;
    uint64_t o = load<uint64_t>(offsets);
    keep(o);
    vec w[SHARE];
    for (int p = 0; p < (SHARE * N + 3) / 4; p++) w[p] = four(weights + 4 * p), keep(w[p]);
    auto entry = [&](auto k) __attribute__((always_inline)) {
      constexpr int K = decltype(k)::value;
      const char* x = v.x + size_t(uint16_t(o >> 16 * K)) * (FAR ? v.pitch : 8);
      vec in[T];
      for (int t = 0; t < T; t++) in[t] = load<vec>(x + t * V * 4);
      auto output = [&](auto p) __attribute__((always_inline)) {
        constexpr int P = decltype(p)::value, AT = K * SHARE + P;
        vec weight = pick<AT % 4>(w[AT / 4]);
        for (int t = 0; t < T; t++) c[(K % OUTPUTS) * SHARE + P][t] += weight * in[t];
      };
      output(Number<0>{});
      if constexpr (SHARE > 1) output(Number<1>{});
      if constexpr (SHARE > 2) output(Number<2>{}), output(Number<3>{});
    };
    entry(Number<0>{});
    if constexpr (N > 1) entry(Number<1>{});
    if constexpr (N > 2) entry(Number<2>{});
    if constexpr (N > 3) entry(Number<3>{});
  };
  for (uint32_t q = 0; q < quads; q++) {
    some(Number<4>{});
    offsets += 8;
    weights += 4 * SHARE;
  }
  if constexpr (TAIL > 0) some(Number<TAIL>{});
  return reinterpret_cast<const uint8_t*>(weights + TAIL * SHARE);
}

template <int T, int OUTPUTS, int SHARE, int TAIL>
static __attribute__((noinline)) void near_visits(const Visits& v, int row_vectors) {
  const uint8_t* s = v.stream;
  for (uint32_t i = 0; i < v.visits; i++) {
    vec c[OUTPUTS * SHARE][T];
    float* sums[OUTPUTS];
    for (int u = 0; u < OUTPUTS; u++) {
      sums[u] = v.sums + size_t(load<uint16_t>(s + 2 * u)) * size_t(row_vectors * V);
      for (int p = 0; p < SHARE; p++) {
        for (int t = 0; t < T; t++) c[u * SHARE + p][t] = load<vec>(sums[u] + (p * row_vectors + t) * V);
      }
    }
    s = accumulate<T, OUTPUTS, SHARE, TAIL, false>(v, s, c);
    for (int u = 0; u < OUTPUTS; u++) {
      for (int p = 0; p < SHARE; p++) {
        for (int t = 0; t < T; t++) store(sums[u] + (p * row_vectors + t) * V, c[u * SHARE + p][t]);
      }
    }
  }
}

// Outputs that a visit takes at a time, and the most vectors of a tile, for 1, 2 and 4 outputs that share zeros.
#if ISA_AVX512
constexpr int kTogether = 2, kMost[3] = {6, 5, 5};
#elif ISA_AVX2
constexpr int kTogether = 1, kMost[3] = {6, 4, 2};
#else
constexpr int kTogether = 1, kMost[3] = {ISA_NEON ? 8 : 4, ISA_NEON ? 6 : 3, ISA_NEON ? 5 : 2};
#endif

static void start_sums(const Packed& packed, const Panel& panel, int vectors, int pitch, float* sums) {
  for (int64_t o = 0; o < panel.outputs; o++) {
    vec bias = splat(packed.bias[size_t(panel.output + o)]);
    for (int t = 0; t < vectors; t++) store(sums + o * pitch + t * V, bias);
  }
  memset(sums + panel.outputs * pitch, 0, size_t((packed.sums - panel.outputs) * pitch) * 4);  // of no output
}

template <int T, int OUTPUTS, int SHARE>
static void visit_group(const Visits& v, int row_vectors) {
  switch (v.entries % 4) {
    case 0: return near_visits<T, OUTPUTS, SHARE, 0>(v, row_vectors);
    case 2: return near_visits<T, OUTPUTS, SHARE, 2>(v, row_vectors);
    case 1:
      if constexpr (OUTPUTS == 1) return near_visits<T, OUTPUTS, SHARE, 1>(v, row_vectors);
      break;
    case 3:
      if constexpr (OUTPUTS == 1) return near_visits<T, OUTPUTS, SHARE, 3>(v, row_vectors);
      break;
  }
}

}  // namespace ISA
}  // namespace secateur
