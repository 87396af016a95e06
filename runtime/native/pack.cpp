// Zeros to streams: rows of inputs in blocks that fit the first cache, and for each block the entries of every output.
#include "pack.h"

#include "streams.h"

namespace secateur {
namespace {

class Packer {
 public:
  Packer(const Layer& layer, Packed* out) : layer_(layer), out_(out), choice_(out->choice) {}

  // Rows are sums of the layer before, where they lie in that one's order.
  bool behind(const Packed& before) {
    if (before.order.empty()) return true;
    if (!lies_.resize(size_t(layer_.inputs))) return false;
    for (size_t place = 0; place < before.order.size(); place++) lies_[before.order[place]] = uint32_t(place);
    return true;
  }

  bool panel(int64_t group, int64_t first, int64_t outputs) {
    Panel panel{group * layer_.inputs, first, outputs, uint32_t(out_->blocks.size()), 0};
    first_ = panel.output;
    outputs_ = outputs;
    units_ = (outputs + choice_.share - 1) / choice_.share;
    if (!find_live() || !make_blocks(&panel) || !fill(panel.block_count)) return false;
    for (uint32_t b = 0; b < panel.block_count; b++) {
      Block* block = &out_->blocks[panel.blocks + b];
      if (!emit(b, block) || (choice_.bytes && !zero_sums(b, block))) return false;
    }
    int64_t sums = units_ * choice_.share + 1;  // one more that an odd last output is paired with
    if (sums > out_->sums) out_->sums = sums;
    return out_->panels.push(panel);
  }

 private:
  float weight(int64_t o, int64_t r) const {
    return layer_.weights[out_->output(first_ + o) * layer_.output_stride + r * layer_.row_stride];
  }

  bool find_live() {
    int64_t rows = layer_.rows();
    work_.live.clear();
    if (!work_.live.resize(size_t(rows))) return false;
    for (int64_t o = 0; o < outputs_; o++) {
      for (int64_t r = 0; r < rows; r++) work_.live[size_t(r)] |= weight(o, r) != 0;
    }
    // Rows of a matrix are packed by transposing neighbours, and direct and chained rows are not packed: all stay.
    if ((choice_.direct && !choice_.bytes) || choice_.tiny || choice_.chained || layer_.kind == Kind::matrix) memset(work_.live.data(), 1, size_t(rows));
    if (choice_.direct) work_.live[0] = 1;  // one block that writes every output, of nothing too
    return true;
  }

  // Taps that live and die together at the borders are in one block: of a kernel row where rows are cut, each alone where
  // both axes are.
  int64_t tap_groups() const {
    if (out_->choice.direct || layer_.taps() == 1) return 1;
    return layer_.cut(1) ? layer_.taps() : layer_.cut(0) ? layer_.kernel[0] : 1;
  }

  bool make_blocks(Panel* panel) {
    int64_t rows = layer_.rows(), all_taps = layer_.taps(), groups = tap_groups(), in_group = all_taps / groups;
    int64_t most = choice_.direct || choice_.tiny ? rows : choice_.block;
    if (!work_.block_of.resize(size_t(rows)) || !work_.local_of.resize(size_t(rows))) return false;
    memset(work_.block_of.data(), 0xff, size_t(rows) * 4);
    Array<int64_t> live;  // of each group of taps
    if (!live.resize(size_t(groups))) return false;
    for (int64_t r = 0; r < rows; r++) {
      if (work_.live[size_t(r)]) live[size_t(r % all_taps / in_group)]++, out_->live_rows++;
    }
    int64_t most_live = 1;
    for (int64_t n : live) most_live = n > most_live ? n : most_live;
    // Chunks of channels outside, groups of taps inside: lines that taps share stay in the second cache.
    int64_t chunks = (most_live + most - 1) / most;
    Array<int64_t> seen, next_channel;
    if (!seen.resize(size_t(groups)) || !next_channel.resize(size_t(groups))) return false;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      for (int64_t g = 0; g < groups; g++) {
        int64_t until = live[size_t(g)] * (chunk + 1) / chunks;
        if (!block(g * in_group, (g + 1) * in_group, &next_channel[size_t(g)], until, &seen[size_t(g)], panel)) return false;
      }
    }
    return true;
  }

  // One block: live rows of the taps [from, to) from entry *channel on, until `until` of them have been seen.
  bool block(int64_t from, int64_t to, int64_t* place, int64_t until, int64_t* seen, Panel* panel) {
    if (*seen >= until) return true;
    int64_t all_taps = layer_.taps(), in_group = to - from, start = *place, end = start;
    for (; end < layer_.inputs * in_group && *seen < until; end++) *seen += live_at(end, from, in_group);
    *place = end;
    Block made{uint32_t(out_->rows.size()), 0, 0, 0, 0};
    uint32_t index = panel->block_count, local = 0;
    for (int64_t tap = from; tap < to; tap++) {
      Rows rows{uint32_t(tap), uint32_t(out_->channels.size()), 0};
      for (int64_t channel = start / in_group; channel * in_group < end; channel++) {
        int64_t at = channel * in_group + tap - from, row = channel * all_taps + tap;
        if (at < start || at >= end || !work_.live[size_t(row)]) continue;
        work_.block_of[size_t(row)] = index;
        // Of a chain whose rows are not in order, offsets count from the first of all; else from the first of the block.
        work_.local_of[size_t(row)] = lies_.empty() ? local++ : lies_[size_t(channel)];
        rows.count++;
        if (!out_->channels.push(lies_.empty() ? uint32_t(channel) : 0)) return false;
      }
      if (rows.count && !out_->rows.push(rows)) return false;
    }
    made.row_count = uint32_t(out_->rows.size()) - made.rows;
    panel->block_count++;
    return out_->blocks.push(made);
  }
  int64_t live_at(int64_t at, int64_t from, int64_t in_group) const {
    return work_.live[size_t(at / in_group * layer_.taps() + from + at % in_group)];
  }

  // Counts the entries of every block and unit, then writes them one block and unit after another.
  bool fill(uint32_t blocks) {
    size_t cells;
    if (!multiply(blocks, size_t(units_), &cells)) return false;
    work_.counts.clear();
    work_.starts.clear();
    if (!work_.counts.resize(cells) || !work_.starts.resize(cells)) return false;
    for (int pass = 0; pass < 2; pass++) {
      for (int64_t unit = 0; unit < units_; unit++) {
        for (int64_t r = 0; r < layer_.rows(); r++) {
          float found[4] = {};
          bool any = false;
          for (int64_t p = 0; p < choice_.share && unit * choice_.share + p < outputs_; p++) {
            found[p] = weight(unit * choice_.share + p, r);
            any |= found[p] != 0;
          }
          if (!any) continue;
          size_t cell = size_t(work_.block_of[size_t(r)]) * size_t(units_) + size_t(unit);
          if (pass) {
            uint64_t at = work_.starts[cell] + work_.counts[cell];
            work_.locals[at] = uint16_t(work_.local_of[size_t(r)]);
            for (int p = 0; p < choice_.share; p++) {
              work_.values[at * size_t(choice_.share) + size_t(p)] = found[p] * layer_.scale;
              out_->nonzeros += found[p] != 0;
            }
          }
          work_.counts[cell]++;
        }
      }
      if (pass) break;
      uint64_t total = 0;
      for (size_t i = 0; i < cells; i++) {
        work_.starts[i] = total;
        total += work_.counts[i];
        work_.counts[i] = 0;
      }
      out_->stored += int64_t(total) * choice_.share;
      if (!work_.locals.resize(total) || !work_.values.resize(total * size_t(choice_.share))) return false;
    }
    return true;
  }

  // Units of a block by falling count, `together` of them a visit, and visits of one length a group.
  bool emit(uint32_t index, Block* block) {
    uint32_t most = 0;
    size_t base = size_t(index) * size_t(units_);
    for (int64_t u = 0; u < units_; u++) most = work_.counts[base + size_t(u)] > most ? work_.counts[base + size_t(u)] : most;
    Array<uint32_t> places;
    if (!places.resize(most + 2) || !work_.units.resize(size_t(units_))) return false;
    for (int64_t u = 0; u < units_; u++) places[most - work_.counts[base + size_t(u)] + 1]++;
    for (uint32_t i = 1; i <= most; i++) places[i] += places[i - 1];
    for (int64_t u = 0; u < units_; u++) {
      uint32_t n = work_.counts[base + size_t(u)];
      work_.units[places[most - n]++] = {uint32_t(u), n, work_.starts[base + size_t(u)]};
    }
    block->groups = uint32_t(out_->groups.size());
    size_t together = size_t(choice_.together);
    for (size_t i = 0; i < size_t(units_); i += together) {
      uint32_t longest = work_.units[i].count;
      if (longest == 0 && !choice_.direct && !choice_.tiny) break;  // those two write what has no weights too
      if (choice_.bytes) longest = (longest + 3) / 4 * 4;
      uint32_t entries = longest * uint32_t(together);
      if (block->group_count == 0 || out_->groups.back().entries != entries) {
        if (!out_->groups.push({out_->stream.size(), 0, entries})) return false;
        block->group_count++;
      }
      out_->groups.back().visits++;
      if (!visit(i, together, longest)) return false;
    }
    return true;
  }

  bool visit(size_t first, size_t together, uint32_t longest) {
    uint16_t rows[2] = {uint16_t(units_ * choice_.share), uint16_t(units_ * choice_.share)};
    for (size_t u = 0; u < together && first + u < size_t(units_); u++)
      rows[u] = uint16_t(work_.units[first + u].unit * uint32_t(choice_.share));
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(rows);
    if (!out_->stream.append(bytes, 4)) return false;
    return choice_.bytes ? byte_visit(work_, choice_, first, longest, &out_->stream)
                         : float_visit(work_, choice_, first, size_t(units_), longest, &out_->stream);
  }

  // What the zero point of the input makes of each output's weights in a block: subtracted at the start of the sums, and given
  // back where the block is left because it lies on padding. In unsigned numbers: sums wrap as those of the processor do.
  bool zero_sums(uint32_t index, Block* block) {
    size_t base = size_t(index) * size_t(units_), share = size_t(choice_.share);
    uint32_t zero = uint32_t(layer_.quantised.in_zero + (layer_.quantised.in == Type::int8 ? 128 : 0));
    block->dead = out_->dead.size();
    for (int64_t o = 0; o < outputs_; o++) {
      size_t cell = base + size_t(o) / share;
      uint32_t sum = 0;
      for (uint64_t e = 0; e < work_.counts[cell]; e++)
        sum += uint32_t(int32_t(work_.values[(work_.starts[cell] + e) * share + size_t(o) % share]));
      if (!out_->dead.push(int32_t(sum * zero))) return false;
      int32_t& start = out_->start[size_t(first_ + o)];
      start = int32_t(uint32_t(start) - sum * zero);
    }
    return true;
  }

  const Layer& layer_;
  Packed* out_;
  const Choice choice_;
  Work work_;
  Array<uint32_t> lies_;  // of a chained layer: the row of each input, empty where they are in order
  int64_t first_ = 0, outputs_ = 0, units_ = 0;
};

}  // namespace

bool pack(const Layer& layer, const Choice& choice, const Census& census, const Packed* before, Packed* out) {
  out->choice = choice;
  if (census.ordered(choice.share) && !out->order.append(census.order.data(), census.order.size())) return false;
  const int64_t places = out->places(layer.outputs);
  if (!out->bias.resize(size_t(places) + 64)) return false;
  for (int64_t p = 0; p < places; p++) out->bias[size_t(p)] = layer.bias_of(out->output(p));
  if (choice.bytes && !requantisation(layer, out)) return false;
  if (choice.depthwise) {
    out->nonzeros = out->stored = layer.outputs * layer.rows();
    return out->dense.append(layer.weights, size_t(out->stored));
  }
  Packer packer(layer, out);
  if (before && !packer.behind(*before)) return false;
  int64_t per_group = layer.outputs / layer.groups;
  for (int64_t g = 0, first = 0, end = 0; g < layer.groups; g++, first = end) {
    while (end < places && out->output(end) / per_group == g) end++;
    int64_t units = (end - first + choice.share - 1) / choice.share, panels = choice.panels < units ? choice.panels : units;
    for (int64_t p = 0; p < panels; p++) {
      int64_t from = first + units * p / panels * choice.share, to = first + units * (p + 1) / panels * choice.share;
      if (!packer.panel(g, from, (to < end ? to : end) - from)) return false;
    }
  }
  return out->stream.resize(out->stream.size() + 64);  // kernels read a few bytes past the end
}

}  // namespace secateur
