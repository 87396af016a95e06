// Beside the tiles: phases of strided layers, matrices for few rows, and what the processor can do at most.
#pragma once
#include <time.h>

#include "epilogue.h"

namespace secateur {
namespace ISA {

// Planes of one channel of one image: plane (py, px) holds x[py + i * stride][px + j * stride], zero past the end.
static void phases(const Job& job, int64_t channel, float* out) {
  const int64_t sy = job.layer->stride[0], sx = job.layer->stride[1], h = job.in_height, w = job.in_width;
  const float* x = job.x + channel * h * w;
  out += channel * job.phases * job.plane;
  for (int64_t py = 0; py < sy; py++) {
    for (int64_t px = 0; px < sx; px++) {
      int place = job.phase_place[py * sx + px];
      if (place < 0) continue;
      float* to = out + place * job.plane;
      for (int64_t i = 0; i < job.plane_height; i++, to += job.plane_width) {
        int64_t y = py + i * sy, n = y < h && px < w ? (w - px + sx - 1) / sx : 0, j = 0;
        const float* from = x + y * w + px;
        if (sx == 2) {
          for (; j + 4 <= n && 2 * j + 8 <= w - px; j += 4)
            store(to + j, __builtin_shufflevector(load<vec4>(from + 2 * j), load<vec4>(from + 2 * j + 4), 0, 2, 4, 6));
        }
        for (; j < n; j++) to[j] = from[j * sx];
        for (; j < job.plane_width; j++) to[j] = 0;
      }
    }
  }
}

typedef float row1 __attribute__((vector_size(4)));
typedef float row8 __attribute__((vector_size(32)));

template <class out_t>
static void tiny_rows(const Job& job, const float* x, const Panel& panel) {
  constexpr int W = int(sizeof(out_t) / 4);
  typedef int32_t int4 __attribute__((vector_size(16)));
  const Packed& p = *job.packed;
  const Block& block = p.blocks[panel.blocks];
  const int64_t outputs = job.layer->outputs;
  for (uint32_t g = block.groups; g < block.groups + block.group_count; g++) {
    const Group& group = p.groups[g];
    const uint8_t* s = p.stream.data() + group.stream;
    for (uint32_t i = 0; i < group.visits; i++) {
      int64_t output = panel.output + load<uint16_t>(s);
      const uint8_t* offsets = s + 4;
      const float* weights = reinterpret_cast<const float*>(offsets + (group.entries + 1) / 2 * 4);
      out_t sum[4] = {};
      uint32_t e = 0;
      for (; e + 4 <= group.entries; e += 4) {
        uint64_t o = load<uint64_t>(offsets + 2 * e);
        keep(o);
        for (int k = 0; k < 4; k++)
          sum[k] += load<float>(weights + e + k) * load<out_t>(x + size_t(uint16_t(o >> 16 * k)) * W);
      }
      for (; e < group.entries; e++) sum[e % 4] += load<float>(weights + e) * load<out_t>(x + size_t(load<uint16_t>(offsets + 2 * e)) * W);
      sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]) + p.bias[size_t(output)];
      float sums[W];
      store(sums, sum[0]);
      for (int m = 0; m < W && m < job.width; m++) {
        float y = sums[m];
        for (int k = 0; k < job.layer->step_count; k++) {
          const Step& step = job.layer->steps[k];
          y = step.op == Op::add ? y + job.added.data[m * job.added.row + output * job.added.channel]
                                 : apply<vec4, int4>(step, fill<vec4>(y))[0];
        }
        job.y[m * outputs + output] = y;
      }
      s = reinterpret_cast<const uint8_t*>(weights + group.entries);
    }
  }
}

static void tiny(const Job& job, const float* rows, int64_t panel) {
  const Panel& p = job.packed->panels[size_t(panel)];
  if (job.width == 1) return tiny_rows<row1>(job, rows, p);
  if (job.width <= 4) return tiny_rows<vec4>(job, rows, p);
  tiny_rows<row8>(job, rows, p);
}

static void broadcast(const Layer& layer, int step, const Broadcast& b) {
  typedef int32_t int4 __attribute__((vector_size(16)));
  int64_t total = 1, place[kRank] = {}, sum = 0, added = 0;
  for (int i = 0; i < b.rank; i++) total *= b.dims[i];
  for (int64_t n = 0; n < total; n++) {
    float y = b.sums[sum] + b.added[added];
    for (int k = step + 1; k < layer.step_count; k++) y = apply<vec4, int4>(layer.steps[k], fill<vec4>(y))[0];
    b.y[n] = y;
    for (int i = b.rank - 1; i >= 0; i--) {
      sum += b.sum_strides[i];
      added += b.added_strides[i];
      if (++place[i] < b.dims[i]) break;
      place[i] = 0;
      sum -= b.sum_strides[i] * b.dims[i];
      added -= b.added_strides[i] * b.dims[i];
    }
  }
}

static double nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) * 1e9 + double(t.tv_nsec);
}

// Multiply-adds a nanosecond with everything in registers.
static double dense_rate() {
  double best = 0;
  for (int attempt = 0; attempt < 5; attempt++) {
    vec c[10], a = splat(0.5f), b = splat(1.f);
    for (vec& v : c) v = splat(1.f);
    double start = nanoseconds();
    const int kTimes = 4000;
    for (int i = 0; i < kTimes; i++) {
      for (vec& v : c) v = v * a + b;
      keep(a);
    }
    double time = nanoseconds() - start;
    for (vec& v : c) __asm__ volatile("" : : "m"(v));
    double rate = double(kTimes) * 10 * V / (time > 1 ? time : 1);
    best = rate > best ? rate : best;
  }
  return best;
}

}  // namespace ISA
}  // namespace secateur
