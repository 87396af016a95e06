// A tile through the layers of a chain: sums of one, still in the second cache, are the packed rows of the next.
#pragma once
#include "epilogue.h"
#include "visits.h"

namespace secateur {
namespace ISA {

// Activations on sums, which stay where they are. An addition ends a chain, so there is none.
template <int T>
static void settle(const Job& job, int pitch, float* sums) {
  for (int64_t o = 0; o < job.packed->panels[0].outputs && job.layer->step_count; o++) {
    vec c[T];
    for (int t = 0; t < T; t++) c[t] = load<vec>(sums + o * pitch + t * V);
    for (int i = 0; i < job.layer->step_count; i++) step_all<T>(job.layer->steps[i], c);
    for (int t = 0; t < T; t++) store(sums + o * pitch + t * V, c[t]);
  }
}

// Sums of a 1x1 layer from rows that lie there already, all of its inputs, in the order of the layer before.
template <int T, int OUTPUTS, int SHARE>
static void take_over(const Packed& p, const float* rows, int pitch, float* sums) {
  const Panel& panel = p.panels[0];
  start_sums(p, panel, T, pitch, sums);
  for (uint32_t b = panel.blocks; b < panel.blocks + panel.block_count; b++) {
    const Block& block = p.blocks[b];
    const float* from = rows + int64_t(p.channels[p.rows[block.rows].first]) * pitch;
    for (uint32_t g = block.groups; g < block.groups + block.group_count; g++) {
      const Group& group = p.groups[g];
      visit_group<T, OUTPUTS, SHARE>({p.stream.data() + group.stream, reinterpret_cast<const char*>(from), sums, group.visits,
                                      group.entries, 8}, pitch / V);
    }
  }
}

// The layers behind the first. Returns the last, whose sums are then at *sums.
template <int T>
static const Job* go_on(const Job& first, float** sums, float** more, int pitch) {
  const Job* job = &first;
  for (; job->next; job = job->next) {
    const Packed& p = *job->next->packed;
    settle<T>(*job, pitch, *sums);
    switch (p.choice.share) {
      case 1: if constexpr (T <= kMost[0]) take_over<T, kTogether, 1>(p, *sums, pitch, *more); break;
      case 2: if constexpr (T <= kMost[1]) take_over<T, 1, 2>(p, *sums, pitch, *more); break;
      case 4: if constexpr (T <= kMost[2]) take_over<T, 1, 4>(p, *sums, pitch, *more); break;
    }
    float* swapped = *sums;
    *sums = *more, *more = swapped;
  }
  return job;
}

template <int T>
static void write_sums(const Job& job, const Tile& tile, const Panel& panel, const float* sums, int pitch) {
  const uint32_t* order = job.packed->order.data();
  for (int64_t o = 0; o < panel.outputs; o++) {
    vec c[T];
    if (o + 8 < panel.outputs) announce(job, tile, ordered(order, panel.output + o + 8));
    for (int t = 0; t < T; t++) c[t] = load<vec>(sums + o * pitch + t * V);
    finish<T>(job, tile, ordered(order, panel.output + o), c);
  }
}

}  // namespace ISA
}  // namespace secateur
