// One unit of work in one instruction set; this file is compiled once for each.
#include "chain.h"
#include "depthwise.h"
#include "epilogue.h"
#include "extra.h"

namespace secateur {
namespace ISA {
namespace {

struct Scratch {
  float *sums, *more, *rows;  // more: of the next layer of a chain
  View* views;
};

Scratch divide(const Job& job, void* memory) {
  Scratch s;
  const Packed& p = *job.packed;
  int64_t row = int64_t(p.choice.vectors) * V, taps = job.layer->taps(), sums = sum_rows(job);
  s.sums = static_cast<float*>(memory);
  s.more = s.sums + sums / 2 * row;
  s.rows = s.sums + sums * row;
  s.views = reinterpret_cast<View*>(s.rows + int64_t(p.choice.block + 8) * row);
  Segment* segments = reinterpret_cast<Segment*>(s.views + taps);
  for (int64_t t = 0; t < taps; t++) s.views[t].segments = segments + t * row;
  return s;
}

// The tile of a unit: which panel and image, which pixels.
const Panel& find(const Job& job, int64_t unit, Tile* tile, const Region** region, int64_t* first, int64_t* end) {
  int64_t index = unit % job.tiles, rest = unit / job.tiles;
  tile->image = rest / int64_t(job.packed->panels.size());
  const Region* r = job.regions;
  while (index >= r->first_tile + r->tiles) r++;
  int64_t pixels = int64_t(r->bottom - r->top) * (r->right - r->left), vectors = (pixels + V - 1) / V, n = index - r->first_tile;
  *first = vectors * n / r->tiles * V;
  *end = vectors * (n + 1) / r->tiles * V;
  *end = *end < pixels ? *end : pixels;
  *region = r;
  return job.packed->panels[size_t(rest) % job.packed->panels.size()];
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

void look(const Job& job, const Tile& tile, Scratch* s) {
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

template <int T, int OUTPUTS, int SHARE>
void packed_tile(const Job& job, const Panel& panel, Tile* tile, Scratch s) {
  const Packed& p = *job.packed;
  const int row_vectors = p.choice.vectors, pitch = row_vectors * V;
  bool matrix = job.layer->kind == Kind::matrix;
  int64_t tokens = job.width - tile->first_pixel, columns = job.layer->inputs, size = job.phases * job.plane;
  tokens = tokens < T * V ? tokens : T * V;
  if (!matrix) look(job, *tile, &s);
  start_sums(p, panel, T, pitch, s.sums);
  const float* base = job.source + (tile->image * job.layer->groups * job.layer->inputs + panel.channel) * size;
  for (uint32_t b = panel.blocks; b < panel.blocks + panel.block_count; b++) {
    const Block& block = p.blocks[b];
    float* to = s.rows;
    bool dead = true;
    for (uint32_t r = block.rows; r < block.rows + block.row_count; r++) dead &= !matrix && s.views[p.rows[r].tap].dead;
    if (dead) continue;
    for (uint32_t r = block.rows; r < block.rows + block.row_count; r++) {
      const Rows& rows = p.rows[r];
      const uint32_t* channels = p.channels.data() + rows.first;
      if (matrix) {
        to = pack_columns(channels, rows.count, job.x + tile->first_pixel * columns, columns, tokens, T, pitch, to);
      } else {
        const View& seen = s.views[rows.tap];
        to = pack_rows<T>(channels, rows.count, seen, base + seen.place, size, pitch, to);
      }
    }
    for (uint32_t g = block.groups; g < block.groups + block.group_count; g++) {
      const Group& group = p.groups[g];
      visit_group<T, OUTPUTS, SHARE>({p.stream.data() + group.stream, reinterpret_cast<const char*>(s.rows), s.sums,
                                      group.visits, group.entries, 8}, row_vectors);
    }
  }
  if (matrix) return finish_tokens(job, tile->first_pixel, tokens, panel, s.sums, pitch);
  view(*tile, job.height, job.width, 0, 0, &tile->out);
  if (!job.next) return write_sums<T>(job, *tile, panel, s.sums, pitch);
  const Job* last = go_on<T>(job, &s.sums, &s.more, pitch);
  write_sums<T>(*last, *tile, last->packed->panels[0], s.sums, pitch);
}

// Rows of a 1x1 layer are read where they lie, and sums are written at once.
template <int T, int OUTPUTS, int SHARE, int TAIL>
__attribute__((noinline)) void direct_visits(const Job& job, const Panel& panel, const Tile& tile, const Visits& v) {
  const uint8_t* s = v.stream;
  const uint32_t* order = job.packed->order.data();
  for (uint32_t i = 0; i < v.visits; i++) {
    vec c[OUTPUTS * SHARE][T];
    int64_t rows[OUTPUTS];
    for (int u = 0; u < OUTPUTS; u++) {
      rows[u] = load<uint16_t>(s + 2 * u);
      for (int p = 0; p < SHARE; p++) {
        for (int t = 0; t < T; t++) c[u * SHARE + p][t] = splat(job.packed->bias[size_t(panel.output + rows[u] + p)]);
      }
    }
    s = accumulate<T, OUTPUTS, SHARE, TAIL, true>(v, s, c);
    for (int u = 0; u < OUTPUTS; u++) {
      for (int p = 0; p < SHARE; p++) {
        if (rows[u] + p < panel.outputs) finish<T>(job, tile, ordered(order, panel.output + rows[u] + p), c[u * SHARE + p]);
      }
    }
  }
}

template <int T, int OUTPUTS, int SHARE>
void direct_tile(const Job& job, const Panel& panel, Tile* tile, int64_t written) {
  const Packed& p = *job.packed;
  const float* x = job.source + (tile->image * job.layer->groups * job.layer->inputs + panel.channel) * job.plane + tile->first_pixel;
  view(*tile, job.height, job.width, 0, 0, &tile->out);
  tile->out.whole &= written == 0;
  for (int t = 0; t < T && written > t * V; t++) {  // pixels that the tile before writes
    uint32_t done = written - t * V >= V ? kAll : (uint32_t(1) << (written - t * V)) - 1;
    for (int k = 0; k < tile->out.counts[t]; k++) tile->out.segments[t * V + k].mask &= ~done;
  }
  const Block& block = p.blocks[panel.blocks];
  for (uint32_t g = block.groups; g < block.groups + block.group_count; g++) {
    const Group& group = p.groups[g];
    Visits v{p.stream.data() + group.stream, reinterpret_cast<const char*>(x), nullptr, group.visits, group.entries, size_t(job.plane) * 4};
    switch (v.entries % 4) {
      case 0: direct_visits<T, OUTPUTS, SHARE, 0>(job, panel, *tile, v); break;
      case 2: direct_visits<T, OUTPUTS, SHARE, 2>(job, panel, *tile, v); break;
      case 1: if constexpr (OUTPUTS == 1) direct_visits<T, OUTPUTS, SHARE, 1>(job, panel, *tile, v); break;
      case 3: if constexpr (OUTPUTS == 1) direct_visits<T, OUTPUTS, SHARE, 3>(job, panel, *tile, v); break;
    }
  }
}

template <int T, int OUTPUTS, int SHARE>
void tile_of(const Job& job, const Panel& panel, Tile* tile, int64_t written, void* memory) {
  if (job.packed->choice.direct) return direct_tile<T, OUTPUTS, SHARE>(job, panel, tile, written);
  packed_tile<T, OUTPUTS, SHARE>(job, panel, tile, divide(job, memory));
}

template <int OUTPUTS, int SHARE, int MOST>
void sized(const Job& job, const Panel& panel, Tile* tile, int64_t written, void* memory) {
#define CASE(T) \
  case T: \
    if constexpr (T <= MOST) tile_of<T, OUTPUTS, SHARE>(job, panel, tile, written, memory); \
    break;
  switch (tile->vectors) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) }
#undef CASE
}

void unit(const Job& job, int64_t index, void* memory) {
  Tile tile;
  const Region* region = nullptr;
  int64_t first, end, written = 0;
  const Panel& panel = find(job, index, &tile, &region, &first, &end);
  int vectors = int((end - first + V - 1) / V);
  if (job.packed->choice.direct && first + vectors * V > job.plane) {  // the last tile reaches back
    int64_t back = job.plane - vectors * V;
    written = first - back;
    first = back;
  }
  tile.out.segments = tile.segments;
  if (job.layer->kind == Kind::matrix) {
    tile.vectors = vectors, tile.first_pixel = first;
  } else {
    cut(*region, first, vectors, &tile);
  }
  switch (job.packed->choice.share) {
    case 1: return sized<kTogether, 1, kMost[0]>(job, panel, &tile, written, memory);
    case 2: return sized<1, 2, kMost[1]>(job, panel, &tile, written, memory);
    case 4: return sized<1, 4, kMost[2]>(job, panel, &tile, written, memory);
  }
}

}  // namespace

extern const Kernels table;
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
const Kernels table = {TEXT(ISA), V, kTogether, {kMost[0], kMost[1], kMost[2]}, unit, phases, depthwise, tiny, broadcast, dense_rate};

}  // namespace ISA
}  // namespace secateur
