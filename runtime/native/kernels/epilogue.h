// What happens to sums before they are written: additions and activations, and the writing itself.
#pragma once
#include "tile.h"

namespace secateur {
namespace ISA {

template <class X>
INLINE X fill(float f) { return f - X{}; }
template <class X>
INLINE X smaller(X a, X b) { return a < b ? a : b; }
template <class X>
INLINE X larger(X a, X b) { return a > b ? a : b; }

// e^x to about 1e-7 relative: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Cephes' expf).
template <class X, class I>
INLINE X exponential(X x) {
  x = smaller(fill<X>(88.3f), larger(fill<X>(-87.3f), x));  // in this order NaN stays
  const float kRound = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  X shifted = x * 1.44269504f + kRound, n = shifted - kRound;
  X r = x - n * 0.693359375f + n * 2.12194440e-4f;
  X p = fill<X>(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  return p * (X)(((I)shifted + (127 - 0x4b400000)) << 23);
}
template <class X, class I>
INLINE X sigmoid(X x) { return 1.f / (1.f + exponential<X, I>(-x)); }

// Half of 1 + erf(x / sqrt 2); erf by Abramowitz and Stegun 7.1.26, 1.5e-7 absolute.
template <class X, class I>
INLINE X normal(X x) {
  X z = larger(x, -x) * 0.70710678f, t = 1.f / (1.f + 0.3275911f * z);
  X p = fill<X>(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  X tail = 0.5f * p * t * exponential<X, I>(-z * z);  // of the side away from zero
  return x < 0.f ? tail : 1.f - tail;
}

template <class X, class I>
static X apply(const Step& step, X x) {
  switch (step.op) {
    case Op::relu: return x < 0.f ? X{} : x;
    case Op::leaky: return x < 0.f ? x * step.a : x;
    case Op::clip: return x < step.a ? fill<X>(step.a) : x > step.b ? fill<X>(step.b) : x;
    case Op::sigmoid: return sigmoid<X, I>(x);
    case Op::silu: return x * sigmoid<X, I>(x);
    case Op::hard_sigmoid: return smaller(fill<X>(1), larger(X{}, x * step.a + step.b));
    case Op::hard_swish: return x * smaller(larger(x * (1 / 6.f) + 0.5f, X{}), fill<X>(1));
    case Op::gelu: return x * normal<X, I>(x);
    case Op::gelu_tanh: return x * sigmoid<X, I>(1.59576912f * (x + 0.044715f * x * x * x));
    case Op::add: break;
  }
  return x;
}

// An activation that takes so long that a call does not matter.
static __attribute__((noinline)) void activate(const Step& step, vec* c, int n) {
  for (int t = 0; t < n; t++) c[t] = apply<vec, veci>(step, c[t]);
}

// One vector of what is added, whatever its strides.
static __attribute__((noinline)) vec added_vector(const Job& job, const Tile& tile, int64_t output, int t) {
  const Added& a = job.added;
  const float* from = a.data + tile.image * a.batch + output * a.channel;
  if (a.row == 0 && a.column == 0) return splat(*from);
  vec v{};
  if (a.column == 1 && a.row == job.width) {
    for (int k = 0; k < tile.out.counts[t]; k++) {
      const Segment& s = tile.out.segments[t * V + k];
      v = (vec)((veci)v | (veci)load_some(from + s.offset, s.mask));
    }
    return v;
  }
  for (int i = 0; i < tile.span_count; i++) {
    const Span& s = tile.spans[i];
    for (int k = 0; s.vector == t && k < s.count; k++) v[s.lane + k] = from[s.y * a.row + (s.x + k) * a.column];
  }
  return v;
}

template <int T>
INLINE void step_all(const Step& step, vec (&c)[T]) {
  if (step.op == Op::relu) {
    for (int t = 0; t < T; t++) c[t] = c[t] < 0.f ? vec{} : c[t];
  } else if (step.op == Op::clip) {
    vec low = splat(step.a), high = splat(step.b);
    for (int t = 0; t < T; t++) c[t] = c[t] < low ? low : c[t] > high ? high : c[t];
  } else {
    vec held[T];
    for (int t = 0; t < T; t++) held[t] = c[t];
    activate(step, held, T);
    for (int t = 0; t < T; t++) c[t] = held[t];
  }
}

// Asks for the lines of y that an output will be written to: they come from far away.
INLINE void announce(const Job& job, const Tile& tile, int64_t output) {
  const float* to = job.y + (tile.image * job.layer->outputs + output) * job.height * job.width;
  for (int t = 0; t < tile.vectors; t++) __builtin_prefetch(to + tile.out.segments[t * V].offset, 1);
}

// Sums of one output to y.
template <int T>
INLINE void finish(const Job& job, const Tile& tile, int64_t output, vec (&c)[T]) {
  for (int i = 0; i < job.layer->step_count; i++) {
    const Step& step = job.layer->steps[i];
    if (step.op == Op::add && job.added.column == 1 && job.added.row == job.width && tile.out.whole) {
      const float* from = job.added.data + tile.image * job.added.batch + output * job.added.channel;
      for (int t = 0; t < T; t++) c[t] += load<vec>(from + tile.out.segments[t * V].offset);
    } else if (step.op == Op::add) {
      for (int t = 0; t < T; t++) c[t] += added_vector(job, tile, output, t);
    } else {
      step_all<T>(step, c);
    }
  }
  float* to = job.y + (tile.image * job.layer->outputs + output) * job.height * job.width;
  if (tile.out.whole) {
    for (int t = 0; t < T; t++) store(to + tile.out.segments[t * V].offset, c[t]);
    return;
  }
  for (int t = 0; t < T; t++) {
    const Segment* s = tile.out.segments + t * V;
    for (int k = 0; k < tile.out.counts[t]; k++) store_some(to + s[k].offset, c[t], s[k].mask);
  }
}

// Sums of a matrix: four outputs of four tokens are turned at a time, and steps follow.
static __attribute__((noinline)) void finish_tokens(const Job& job, int64_t first_token, int64_t tokens, const Panel& panel, const float* sums, int pitch) {
  typedef int32_t int4 __attribute__((vector_size(16)));
  int64_t outputs = job.layer->outputs;
  auto one = [&](float x, int64_t token, int64_t output) {
    for (int i = 0; i < job.layer->step_count; i++) {
      const Step& step = job.layer->steps[i];
      x = step.op == Op::add ? x + job.added.data[token * job.added.row + output * job.added.channel]
                             : apply<vec4, int4>(step, fill<vec4>(x))[0];
    }
    job.y[token * outputs + output] = x;
  };
  bool plain = !job.added.data || job.added.channel == 1;
  for (int64_t o = 0; o < panel.outputs; o += 4) {
    for (int64_t m = 0; m < tokens; m += 4) {
      const float* from = sums + o * pitch + m;
      if (o + 4 > panel.outputs || m + 4 > tokens || !plain) {
        for (int64_t i = o; i < o + 4 && i < panel.outputs; i++) {
          for (int64_t k = m; k < m + 4 && k < tokens; k++) one(sums[i * pitch + k], first_token + k, panel.output + i);
        }
        continue;
      }
      vec4 r0 = load<vec4>(from), r1 = load<vec4>(from + pitch), r2 = load<vec4>(from + 2 * pitch), r3 = load<vec4>(from + 3 * pitch);
      vec4 l0 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), h0 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
      vec4 l1 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), h1 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
      vec4 c[4] = {__builtin_shufflevector(l0, l1, 0, 1, 4, 5), __builtin_shufflevector(l0, l1, 2, 3, 6, 7),
                   __builtin_shufflevector(h0, h1, 0, 1, 4, 5), __builtin_shufflevector(h0, h1, 2, 3, 6, 7)};
      for (int i = 0; i < job.layer->step_count; i++) {
        const Step& step = job.layer->steps[i];
        for (int k = 0; k < 4; k++) {
          if (step.op == Op::add) {
            c[k] += load<vec4>(job.added.data + (first_token + m + k) * job.added.row + panel.output + o);
          } else {
            c[k] = apply<vec4, int4>(step, c[k]);
          }
        }
      }
      for (int k = 0; k < 4; k++) store(job.y + (first_token + m + k) * outputs + panel.output + o, c[k]);
    }
  }
}

}  // namespace ISA
}  // namespace secateur
