// Where the pixels of a tile lie in its source planes and in the output, and rows of them packed into the first cache.
#pragma once
#include "packed.h"
#include "tile_size.h"
#include "vector.h"

namespace secateur {
namespace ISA {

// Pixels that lie beside each other in one line: of vector `vector` from lane `lane` on.
struct Span {
  int32_t vector, lane, count, y, x;
};
// Lanes of a vector that one load or store serves: number `offset + lane` of a plane.
struct Segment {
  int32_t offset;
  uint32_t mask;
};
// The segments of each vector, at segments[vector * V].
struct View {
  bool dead, single, whole;  // none at all; at most one a vector; every vector one of all lanes
  int64_t place;             // of its phase, in numbers from a channel's first plane
  uint8_t counts[kVectors];
  Segment* segments;
};
static_assert(sizeof(View) == kViewBytes && sizeof(Segment) == kSegmentBytes);
struct Tile {
  int64_t image, first_pixel;  // first_pixel within the region
  int vectors, span_count;
  Span spans[kVectors * V];
  Segment segments[kVectors * V];
  View out;
};

// Cuts pixels first.. of a region into spans, a vector at a time.
static void cut(const Region& region, int64_t first, int vectors, Tile* tile) {
  int64_t width = region.right - region.left, pixels = width * (region.bottom - region.top);
  int64_t y = first / width, x = first % width, left = pixels - first;
  tile->vectors = vectors;
  tile->first_pixel = first;
  tile->span_count = 0;
  for (int v = 0; v < vectors; v++) {
    for (int lane = 0; lane < V && left > 0;) {
      int64_t n = V - lane < width - x ? V - lane : width - x;
      tile->spans[tile->span_count++] = {v, lane, int32_t(n), int32_t(region.top + y), int32_t(region.left + x)};
      lane += int(n);
      left -= n;
      x += n;
      if (x == width) x = 0, y++;
    }
  }
}

// The tile as it lies in a plane, shifted; pixels outside the plane belong to no segment.
static void view(const Tile& tile, int64_t height, int64_t width, int64_t down, int64_t right, View* out) {
  for (int v = 0; v < tile.vectors; v++) out->counts[v] = 0, out->segments[v * V] = {0, 0};
  for (int i = 0; i < tile.span_count; i++) {
    const Span& s = tile.spans[i];
    int64_t y = s.y + down, from = s.x + right, to = from + s.count, start = from < 0 ? 0 : from;
    if (to > width) to = width;
    if (y < 0 || y >= height || start >= to) continue;
    int lane = s.lane + int(start - from);
    int32_t offset = int32_t(y * width + start) - lane;
    uint32_t mask = ((uint32_t(1) << (to - start)) - 1) << lane;
    Segment* found = out->segments + s.vector * V;
    uint8_t& n = out->counts[s.vector];
    if (n && found[n - 1].offset == offset) {
      found[n - 1].mask |= mask;
    } else {
      found[n++] = {offset, mask};
    }
  }
  out->dead = out->single = out->whole = true;
  for (int v = 0; v < tile.vectors; v++) {
    out->dead &= out->counts[v] == 0;
    out->single &= out->counts[v] <= 1;
    out->whole &= out->counts[v] == 1 && out->segments[v * V].mask == kAll;
  }
}

template <int T>
static float* pack_rows(const uint32_t* channels, uint32_t count, const View& view, const float* base, int64_t channel_size,
                        int pitch, float* out) {
  Segment s[T];
  for (int t = 0; t < T; t++) s[t] = view.segments[t * V];
  if (view.whole) {
    for (uint32_t i = 0; i < count; i++, out += pitch) {
      const float* from = base + int64_t(channels[i]) * channel_size;
      for (int t = 0; t < T; t++) store(out + t * V, load<vec>(from + s[t].offset));
    }
  } else if (view.single) {
    for (uint32_t i = 0; i < count; i++, out += pitch) {
      const float* from = base + int64_t(channels[i]) * channel_size;
      for (int t = 0; t < T; t++) store(out + t * V, load_some(from + s[t].offset, s[t].mask));
    }
  } else {
    for (uint32_t i = 0; i < count; i++, out += pitch) {
      const float* from = base + int64_t(channels[i]) * channel_size;
      for (int t = 0; t < T; t++) {
        vec v{};
        for (int k = 0; k < view.counts[t]; k++) {
          // Segments share no lane, and a lane that is not loaded is zero: an integer "or" joins them, NaN or not.
          v = (vec)((veci)v | (veci)load_some(from + view.segments[t * V + k].offset, view.segments[t * V + k].mask));
        }
        store(out + t * V, v);
      }
    }
  }
  return out;
}

// The same for a matrix: rows are columns of x, so four by four numbers are turned at a time.
static float* pack_columns(const uint32_t* inputs, uint32_t count, const float* x, int64_t columns, int64_t tokens, int vectors,
                           int pitch, float* out) {
  int lanes = vectors * V;
  const float* from = x + inputs[0];  // a block of a matrix has inputs that lie beside each other
  for (int m = 0; m < lanes; m += 4) {
    uint32_t i = 0;
    if (m + 4 <= tokens) {
      const float *a = from + m * columns, *b = a + columns, *c = b + columns, *d = c + columns;
      for (; i + 4 <= count; i += 4) {
        vec4 r0 = load<vec4>(a + i), r1 = load<vec4>(b + i), r2 = load<vec4>(c + i), r3 = load<vec4>(d + i);
        vec4 l0 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), h0 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
        vec4 l1 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), h1 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
        float* to = out + int64_t(i) * pitch + m;
        store(to, __builtin_shufflevector(l0, l1, 0, 1, 4, 5));
        store(to + pitch, __builtin_shufflevector(l0, l1, 2, 3, 6, 7));
        store(to + 2 * pitch, __builtin_shufflevector(h0, h1, 0, 1, 4, 5));
        store(to + 3 * pitch, __builtin_shufflevector(h0, h1, 2, 3, 6, 7));
      }
    }
    for (; i < count; i++) {
      for (int k = 0; k < 4; k++) out[int64_t(i) * pitch + m + k] = m + k < tokens ? from[(m + k) * columns + i] : 0;
    }
  }
  return out + int64_t(count) * pitch;
}

}  // namespace ISA
}  // namespace secateur
