// A tile of 64 pixels of a quantised layer: where it lies in source planes and in the output, and rows of it in the first cache.
#pragma once
#include "packed.h"
#include "tile_size.h"
#include "vector.h"

namespace secateur {
namespace ISA {
namespace {

typedef uint8_t bytes16 __attribute__((vector_size(16)));

// Pixels that lie beside each other in one line, from place `lane` of the tile on.
struct ByteSpan {
  int32_t lane, count, y, x;
};
// Places of a tile that one masked load serves: byte `offset + place` of a plane. Without masks: places lane .. lane + count.
struct ByteSegment {
  int64_t offset;
  uint64_t mask;
  int32_t lane, count;
};
struct ByteView {
  int32_t count;
  int64_t place;  // of its phase, in bytes from a channel's first plane
  ByteSegment* segments;
};
static_assert(sizeof(ByteView) == kByteViewBytes && sizeof(ByteSegment) == kByteSegmentBytes);
struct ByteTile {
  int64_t image, first_pixel;
  int span_count, pixels;
  ByteSpan spans[kByteRow];
};

void cut(const Region& region, int64_t first, ByteTile* tile) {
  int64_t width = region.right - region.left, pixels = width * (region.bottom - region.top), y = first / width, x = first % width;
  int lane = 0;
  tile->first_pixel = first;
  tile->pixels = int(pixels - first < kByteRow ? pixels - first : kByteRow);
  tile->span_count = 0;
  while (lane < tile->pixels) {
    int64_t n = tile->pixels - lane < width - x ? tile->pixels - lane : width - x;
    tile->spans[tile->span_count++] = {lane, int32_t(n), int32_t(region.top + y), int32_t(region.left + x)};
    lane += int(n);
    x = 0, y++;
  }
}

// The tile as it lies in a plane, shifted; pixels outside the plane belong to no segment.
void view(const ByteTile& tile, int64_t height, int64_t width, int64_t down, int64_t right, ByteView* out) {
  out->count = 0;
  for (int i = 0; i < tile.span_count; i++) {
    const ByteSpan& s = tile.spans[i];
    int64_t y = s.y + down, from = s.x + right, to = from + s.count, start = from < 0 ? 0 : from;
    if (to > width) to = width;
    if (y < 0 || y >= height || start >= to) continue;
    int32_t lane = s.lane + int32_t(start - from), n = int32_t(to - start);
    int64_t offset = y * width + from - s.lane;
    uint64_t mask = (n == 64 ? ~uint64_t(0) : (uint64_t(1) << n) - 1) << lane;
    ByteSegment* last = out->segments + out->count - 1;
    if (out->count && last->offset == offset && (ISA_AVX512 || last->lane + last->count == lane)) {
      last->mask |= mask;
      last->count += n;
    } else {
      out->segments[out->count++] = {offset, mask, lane, n};
    }
  }
}

// Copies a few bytes, at most 64, by moves that overlap.
INLINE void copy(uint8_t* to, const uint8_t* from, int n) {
  auto ends = [&](auto type) __attribute__((always_inline)) {
    typedef decltype(type) T;
    T first = load<T>(from), last = load<T>(from + n - int(sizeof(T)));
    store(to, first);
    store(to + n - int(sizeof(T)), last);
  };
  if (n >= 16) {
    for (int i = 16; i + 16 <= n; i += 16) store(to + i, load<bytes16>(from + i));
    ends(bytes16{});
  } else if (n >= 8) {
    ends(uint64_t{});
  } else if (n >= 4) {
    ends(uint32_t{});
  } else {
    for (int i = 0; i < n; i++) to[i] = from[i];
  }
}

// `zero` stands for a real zero on padding; `flip` makes signed bytes unsigned.
struct Packing {
  uint8_t zero, flip;
};

#if ISA_AVX512
template <int N>
void pack_some(const uint32_t* channels, uint32_t count, const ByteSegment* segments, const uint8_t* base, int64_t size, Packing how, uint8_t* out) {
  const __m512i zero = _mm512_set1_epi8(char(how.zero)), flip = _mm512_set1_epi8(char(how.flip));
  ByteSegment s[N];
  for (int k = 0; k < N; k++) s[k] = segments[k];
  for (uint32_t i = 0; i < count; i++, out += kByteRow) {
    const uint8_t* from = base + int64_t(channels[i]) * size;
    __m512i v = zero;
    for (int k = 0; k < N; k++) v = _mm512_mask_loadu_epi8(v, s[k].mask, from + s[k].offset);
    _mm512_storeu_si512(out, _mm512_xor_si512(v, flip));
  }
}
#endif

uint8_t* pack_rows(const uint32_t* channels, uint32_t count, const ByteView& view, const uint8_t* base, int64_t size, Packing how, uint8_t* out) {
  uint8_t* end = out + size_t(count) * kByteRow;
#if ISA_AVX512
  switch (view.count) {
    case 1: return pack_some<1>(channels, count, view.segments, base, size, how, out), end;
    case 2: return pack_some<2>(channels, count, view.segments, base, size, how, out), end;
    case 3: return pack_some<3>(channels, count, view.segments, base, size, how, out), end;
    default: break;
  }
#endif
  const bytes16 zero = how.zero - bytes16{}, flip = how.flip - bytes16{};
  for (uint32_t i = 0; i < count; i++, out += kByteRow) {
    const uint8_t* from = base + int64_t(channels[i]) * size;
    for (int k = 0; k < kByteRow; k += 16) store(out + k, zero);
    for (int k = 0; k < view.count; k++) {
      const ByteSegment& s = view.segments[k];
#if ISA_AVX512
      _mm512_mask_storeu_epi8(out, s.mask, _mm512_maskz_loadu_epi8(s.mask, from + s.offset));
#else
      copy(out + s.lane, from + s.offset + s.lane, s.count);
#endif
    }
    if (how.flip) {
      for (int k = 0; k < kByteRow; k += 16) store(out + k, load<bytes16>(out + k) ^ flip);
    }
  }
  return end;
}

// Sixteen lines of sixteen bytes change places with columns: four times, halves are interleaved.
INLINE void turn(bytes16 (&a)[16]) {
  for (int stage = 0; stage < 4; stage++) {
    bytes16 b[16];
    for (int i = 0; i < 8; i++) {
      b[2 * i] = __builtin_shufflevector(a[i], a[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      b[2 * i + 1] = __builtin_shufflevector(a[i], a[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    for (int i = 0; i < 16; i++) a[i] = b[i];
  }
}

// The same for a matrix, whose rows are columns of x: `count` inputs that lie beside each other, of at most 64 tokens.
uint8_t* pack_columns(const uint8_t* from, uint32_t count, int64_t columns, int64_t tokens, Packing how, uint8_t* out) {
  const bytes16 flip = how.flip - bytes16{};
  for (int64_t m = 0; m < kByteRow; m += 16) {
    uint32_t i = 0;
    for (; i + 16 <= count && m + 16 <= tokens; i += 16) {
      bytes16 a[16];
      for (int k = 0; k < 16; k++) a[k] = load<bytes16>(from + (m + k) * columns + i) ^ flip;
      turn(a);
      for (uint32_t k = 0; k < 16; k++) store(out + (i + k) * size_t(kByteRow) + m, a[k]);
    }
    for (; i < count; i++) {
      for (int64_t k = m; k < m + 16; k++) out[i * size_t(kByteRow) + size_t(k)] = k < tokens ? from[k * columns + i] ^ how.flip : 0;
    }
  }
  return out + size_t(count) * kByteRow;
}

}  // namespace
}  // namespace ISA
}  // namespace secateur
