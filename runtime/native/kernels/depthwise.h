// Convolutions of one channel each, dense: claimed where both neighbours are ours, so that no layout is turned at the borders.
#pragma once
#include "epilogue.h"

namespace secateur {
namespace ISA {

// How the taps of a kernel row fall on a vector of pixels.
struct Tap {
  int64_t place;  // of its phase, and its shift, in numbers from the pixel's own
  int64_t down;
  uint32_t mask;
};

// Steps, and at most `lines` of the lines to y.
template <int ROWS>
INLINE void put(const Job& job, vec (&c)[ROWS], int64_t lines, float* to, uint32_t mask) {
  for (int i = 0; i < job.layer->step_count; i++) step_all<ROWS>(job.layer->steps[i], c);
  for (int r = 0; r < ROWS && r < lines; r++) store_some(to + r * job.width, c[r], mask);
}

// ROWS lines of one vector; lines from `y` on, taps outside the plane are left where `careful`.
template <int ROWS>
INLINE void depthwise_rows(const Job& job, const float* weights, float bias, const float* from, const Tap* taps, int64_t y, bool careful,
                           float* to, uint32_t mask) {
  vec c[ROWS];
  for (int r = 0; r < ROWS; r++) c[r] = splat(bias);
  const int64_t n = job.layer->taps();
  for (int64_t k = 0; k < n; k++) {
    const Tap& tap = taps[k];
    const vec w = splat(weights[k]);
    for (int r = 0; r < ROWS; r++) {
      int64_t line = y + r + tap.down;
      if (careful && (line < 0 || line >= job.plane_height)) continue;
      c[r] += w * load_some(from + line * job.plane_width + tap.place, tap.mask);
    }
  }
  put<ROWS>(job, c, ROWS, to + y * job.width, mask);
}

// K by K taps of stride 1: a line is loaded once for all the taps that it meets.
template <int ROWS, int K>
static void square(const Job& job, const float* weights, float bias, const float* from, const Tap* taps, float* to, uint32_t mask) {
  for (int64_t y = 0; y < job.height; y += ROWS) {
    vec c[ROWS];
    for (int r = 0; r < ROWS; r++) c[r] = splat(bias);
    for (int kx = 0; kx < K; kx++) {
      vec w[K];
      for (int ky = 0; ky < K; ky++) w[ky] = splat(weights[ky * K + kx]);
      const float* base = from + taps[kx].place;
#pragma GCC unroll 16
      for (int i = 0; i < ROWS + K - 1; i++) {
        int64_t line = y + i + taps[0].down;
        if (line < 0 || line >= job.plane_height) continue;
        vec in = load_some(base + line * job.plane_width, taps[kx].mask);
#pragma GCC unroll 8
        for (int ky = 0; ky < K; ky++) {
          if (i - ky >= 0 && i - ky < ROWS) c[i - ky] += w[ky] * in;
        }
      }
    }
    put<ROWS>(job, c, job.height - y, to + y * job.width, mask);
  }
}

static void depthwise(const Job& job, int64_t unit, void* memory) {
  const Layer& l = *job.layer;
  Tap* taps = static_cast<Tap*>(memory);
  const int64_t channel = unit % l.groups;
  const float* weights = job.packed->dense.data() + channel * l.taps();
  const float* from = job.source + unit * job.phases * job.plane;
  float* to = job.y + unit * job.height * job.width;
  auto floor_div = [](int64_t a, int64_t b) { return b == 1 ? a : a / b - (a % b < 0); };
  int64_t top = 0, bottom = 0;  // lines that reach above and below
  for (int64_t x = 0; x < job.width; x += V) {
    uint32_t mask = job.width - x >= V ? kAll : (uint32_t(1) << (job.width - x)) - 1;
    Tap* tap = taps;
    for (int64_t ky = 0; ky < l.kernel[0]; ky++) {
      int64_t iy = ky * l.dilation[0] - job.before[0], down = floor_div(iy, l.stride[0]);
      top = -down > top ? -down : top;
      bottom = down > bottom ? down : bottom;
      for (int64_t kx = 0; kx < l.kernel[1]; kx++, tap++) {
        int64_t ix = kx * l.dilation[1] - job.before[1], right = floor_div(ix, l.stride[1]);
        int64_t place = job.phase_place[(iy - down * l.stride[0]) * l.stride[1] + ix - right * l.stride[1]] * job.plane;
        int64_t first = -(x + right), last = job.plane_width - (x + right);  // lanes first .. last lie inside
        first = first < 0 ? 0 : first > V ? V : first;
        last = last < first ? first : last > V ? V : last;
        *tap = {place + right + x, down, mask & (((uint32_t(1) << last) - 1) & ~((uint32_t(1) << first) - 1))};
      }
    }
    const float bias = job.packed->bias[size_t(channel)];
    bool plain = l.stride[0] == 1 && l.stride[1] == 1 && l.dilation[0] == 1 && l.dilation[1] == 1 && l.kernel[0] == l.kernel[1];
    if (plain && l.kernel[0] == 3) {
      square<7, 3>(job, weights, bias, from, taps, to + x, mask);
      continue;
    }
    if (plain && l.kernel[0] == 5) {
      square<7, 5>(job, weights, bias, from, taps, to + x, mask);
      continue;
    }
    int64_t y = 0, inner = job.plane_height - bottom < job.height ? job.plane_height - bottom : job.height;
    for (; y < top && y < job.height; y++) depthwise_rows<1>(job, weights, bias, from, taps, y, true, to + x, mask);
    for (; y + 4 <= inner; y += 4) depthwise_rows<4>(job, weights, bias, from, taps, y, false, to + x, mask);
    for (; y < job.height; y++) depthwise_rows<1>(job, weights, bias, from, taps, y, true, to + x, mask);
  }
}

}  // namespace ISA
}  // namespace secateur
