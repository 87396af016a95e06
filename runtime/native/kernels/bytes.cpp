// Quantised layers in one instruction set: int8 weights, bytes in, bytes or floats out. Compiled once for each.
#include <time.h>

#include "byte_epilogue.h"

namespace secateur {
namespace ISA {
namespace {

struct Scratch {
  int32_t* sums;
  uint8_t* rows;
  ByteView* views;
};

Scratch divide(const Packed& p, int64_t taps, void* memory) {
  Scratch s;
  s.sums = static_cast<int32_t*>(memory);
  s.rows = reinterpret_cast<uint8_t*>(s.sums + p.sums * kByteRow);
  s.views = reinterpret_cast<ByteView*>(s.rows + int64_t(p.choice.block + 8) * kByteRow);
  ByteSegment* segments = reinterpret_cast<ByteSegment*>(s.views + taps);
  for (int64_t t = 0; t < taps; t++) s.views[t].segments = segments + t * kByteRow;
  return s;
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

void look(const Job& job, const ByteTile& tile, Scratch* s) {
  const Layer& l = *job.layer;
  for (int64_t ky = 0, tap = 0; ky < l.kernel[0]; ky++) {
    int64_t y = ky * l.dilation[0] - job.before[0], down = floor_div(y, l.stride[0]);
    for (int64_t kx = 0; kx < l.kernel[1]; kx++, tap++) {
      int64_t x = kx * l.dilation[1] - job.before[1], right = floor_div(x, l.stride[1]);
      int64_t phase = (y - down * l.stride[0]) * l.stride[1] + x - right * l.stride[1];
      view(tile, job.plane_height, job.plane_width, down, right, &s->views[tap]);
      s->views[tap].place = job.phase_place[phase] * job.plane;
    }
  }
}

void start_sums(const Packed& p, const Panel& panel, int32_t* sums) {
  for (int64_t o = 0; o < panel.outputs; o++) {
    const ints16 start = p.start[size_t(panel.output + o)] - ints16{};
    for (int k = 0; k < kByteRow; k += 16) store(sums + o * kByteRow + k, start);
  }
  memset(sums + panel.outputs * kByteRow, 0, size_t((p.sums - panel.outputs) * kByteRow) * 4);  // of no output
}

// Visits of the only block of a panel: each begins and ends its sums, which lie in `held` meanwhile.
template <int SHARE>
__attribute__((noinline)) void alone(const Job& job, const Panel& panel, const ByteTile& tile, const Group& group, const uint8_t* rows,
                                     int32_t* held, const Ending& e) {
  const Packed& p = *job.packed;
  const uint8_t* s = p.stream.data() + group.stream;
  for (uint32_t i = 0; i < group.visits; i++) {
    const int64_t unit = load<uint16_t>(s), left = panel.outputs - unit, n = left < SHARE ? left : SHARE;
    int32_t start[SHARE] = {};
    for (int64_t k = 0; k < n; k++) start[k] = p.start[size_t(panel.output + unit + k)];
    s = byte_visit<SHARE>(s, group.entries, rows, [&](Sums<SHARE>& c, int) { c.set(start); },
                          [&](Sums<SHARE>& c, int at) { c.put(held + at); });
    for (int64_t k = 0; k < n; k++) finish(job, tile, panel.output + unit + k, held + k * kByteRow, e);
  }
}

void unit(const Job& job, int64_t index, void* memory) {
  ByteTile tile;
  const Packed& p = *job.packed;
  const Layer& layer = *job.layer;
  int64_t at = index % job.tiles, rest = index / job.tiles, panels = int64_t(p.panels.size());
  tile.image = rest / panels;
  const Region* r = job.regions;
  while (at >= r->first_tile + r->tiles) r++;
  const Panel& panel = p.panels[size_t(rest % panels)];
  cut(*r, (at - r->first_tile) * kByteRow, &tile);
  Scratch s = divide(p, layer.taps(), memory);
  bool matrix = layer.kind == Kind::matrix, is_signed = layer.quantised.in == Type::int8;
  if (!matrix) look(job, tile, &s);
  if (!p.choice.direct) start_sums(p, panel, s.sums);
  const Ending e = ending(job);
  const Packing how{uint8_t(layer.quantised.in_zero), uint8_t(is_signed ? 128 : 0)};
  const int64_t columns = layer.inputs, size = job.phases * job.plane;
  const uint8_t* base = job.byte_planes + (tile.image * layer.groups * layer.inputs + panel.channel) * size;
  for (uint32_t b = panel.blocks; b < panel.blocks + panel.block_count; b++) {
    const Block& block = p.blocks[b];
    uint8_t* to = s.rows;
    bool dead = !matrix;
    for (uint32_t i = block.rows; i < block.rows + block.row_count && dead; i++) dead = s.views[p.rows[i].tap].count == 0;
    if (dead && !p.choice.direct) {
      for (int64_t o = 0; o < panel.outputs; o++) {
        const words16 back = uint32_t(p.dead[block.dead + size_t(o)]) - words16{};
        for (int k = 0; k < kByteRow; k += 16) store(s.sums + o * kByteRow + k, load<words16>(s.sums + o * kByteRow + k) + back);
      }
      continue;
    }
    for (uint32_t i = block.rows; i < block.rows + block.row_count; i++) {
      const Rows& rows = p.rows[i];
      const uint32_t* channels = p.channels.data() + rows.first;
      to = matrix ? pack_columns(job.bytes + tile.first_pixel * columns + channels[0], rows.count, columns, tile.pixels, how, to)
                  : pack_rows(channels, rows.count, s.views[rows.tap], base + s.views[rows.tap].place, size, how, to);
    }
    for (uint32_t g = block.groups; g < block.groups + block.group_count; g++) {
      const Group& group = p.groups[g];
      const uint8_t* stream = p.stream.data() + group.stream;
      if (p.choice.direct) {
        switch (p.choice.share) {
          case 1: alone<1>(job, panel, tile, group, s.rows, s.sums, e); break;
          case 2: alone<2>(job, panel, tile, group, s.rows, s.sums, e); break;
          case 4: alone<4>(job, panel, tile, group, s.rows, s.sums, e); break;
        }
        continue;
      }
      switch (p.choice.share) {
        case 1: byte_visits<1>(stream, group.visits, group.entries, s.rows, s.sums); break;
        case 2: byte_visits<2>(stream, group.visits, group.entries, s.rows, s.sums); break;
        case 4: byte_visits<4>(stream, group.visits, group.entries, s.rows, s.sums); break;
      }
    }
  }
  if (p.choice.direct) return;
  if (matrix) return finish_tokens(job, panel, tile.first_pixel, tile.pixels, s.sums, e);
  for (int64_t o = 0; o < panel.outputs; o++) finish(job, tile, panel.output + o, s.sums + o * kByteRow, e);
}

// Planes of one channel of one image, as `phases` of floats; what lies past the end is a real zero.
void byte_phases(const Job& job, int64_t channel, uint8_t* out) {
  const int64_t sy = job.layer->stride[0], sx = job.layer->stride[1], h = job.in_height, w = job.in_width;
  const uint8_t *x = job.bytes + channel * h * w, zero = uint8_t(job.layer->quantised.in_zero);
  out += channel * job.phases * job.plane;
  for (int64_t py = 0; py < sy; py++) {
    for (int64_t px = 0; px < sx; px++) {
      int place = job.phase_place[py * sx + px];
      if (place < 0) continue;
      uint8_t* to = out + place * job.plane;
      for (int64_t i = 0; i < job.plane_height; i++, to += job.plane_width) {
        int64_t y = py + i * sy, n = y < h && px < w ? (w - px + sx - 1) / sx : 0, j = 0;
        const uint8_t* from = x + y * w + px;
        if (sx == 2) {
          for (; j + 16 <= n && 2 * j + 32 <= w - px; j += 16)
            store(to + j, __builtin_shufflevector(load<bytes16>(from + 2 * j), load<bytes16>(from + 2 * j + 16), 0, 2, 4, 6, 8, 10, 12, 14,
                                                  16, 18, 20, 22, 24, 26, 28, 30));
        }
        for (; j < n; j++) to[j] = from[j * sx];
        for (; j < job.plane_width; j++) to[j] = zero;
      }
    }
  }
}

// A value that the compiler knows nothing of.
template <class X>
INLINE void fresh(X& x) {
#if defined(__x86_64__)
  __asm__("" : "+v"(x));
#elif defined(__aarch64__)
  __asm__("" : "+w"(x));
#else
  (void)x;
#endif
}

// Multiply-adds a nanosecond with everything in registers: what one output makes of four rows, without joining them.
double rate() {
  double best = 0;
  for (int attempt = 0; attempt < 5; attempt++) {
    timespec start, end;
#if ISA_AVX512
    const int kSums = 10, kEach = 64;
    __m512i c[kSums] = {}, a = _mm512_set1_epi8(1);
#elif ISA_AVX2
    const int kSums = 10, kEach = 16;
    __m256i c[kSums] = {}, a = _mm256_set1_epi16(1);
#else
    const int kSums = 8, kEach = 4;
    typedef int32_t ints4 __attribute__((vector_size(16)));
    ints4 c[kSums] = {}, a = {1, 1, 1, 1};
#endif
    clock_gettime(CLOCK_MONOTONIC, &start);
    const int kTimes = 4000;
    for (int i = 0; i < kTimes; i++) {
      for (auto& v : c) {
#if ISA_AVX512
        v = _mm512_dpbusd_epi32(v, a, a);
#elif ISA_AVX2
        v = _mm256_add_epi32(v, _mm256_madd_epi16(a, a));
#else
        v += a * a;
#endif
        fresh(a);
      }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    for (auto& v : c) __asm__ volatile("" : : "m"(v));
    double time = double(end.tv_sec - start.tv_sec) * 1e9 + double(end.tv_nsec - start.tv_nsec), made = double(kTimes) * kSums * kEach;
    best = made / (time > 1 ? time : 1) > best ? made / (time > 1 ? time : 1) : best;
  }
  return best;
}

}  // namespace

extern const ByteKernels byte_table;
#if ISA_AVX512
const ByteKernels byte_table = {"vnni", unit, byte_phases, rate, {0.44, 0.66, 0.80}};
#elif ISA_AVX2
const ByteKernels byte_table = {"avx2", unit, byte_phases, rate, {0.38, 0.47, 0.52}};
#elif ISA_NEON
const ByteKernels byte_table = {"neon", unit, byte_phases, rate, {0.50, 0.60, 0.65}};
#else
const ByteKernels byte_table = {"portable", unit, byte_phases, rate, {0.30, 0.30, 0.30}};
#endif

}  // namespace ISA
}  // namespace secateur
