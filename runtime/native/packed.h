// Weights as the kernels read them, and one run over them. Plain data only: kernels are compiled once an instruction set.
#pragma once
#include "layer.h"
#include "memory.h"

namespace secateur {

constexpr int kVectors = 8;   // most vectors of pixels in a tile
constexpr int kCuts = 8;      // most ranges of an axis that taps cut the output into
constexpr int kWidest = 16;   // most numbers in a vector
constexpr int kPhases = 64;   // most products of the strides
constexpr int64_t kTinyRows = 8;
constexpr int kChain = 4;     // most layers in a chain
constexpr int kByteRow = 64;  // pixels in a tile of bytes, whatever the instructions

// How a layer is computed.
struct Choice {
  int lanes = 4, vectors = 4;  // numbers in a vector, vectors in a tile
  int together = 1;            // visits take this many outputs at a time
  int share = 1;               // outputs that share the places of their zeros: 1, 2 or 4
  int block = 128;             // rows that lie in the first cache at a time
  bool direct = false;         // a small 1x1 layer: rows are read where they lie; of bytes: one block, sums stay in registers
  bool tiny = false;           // a matrix for at most kTinyRows rows of input
  bool bytes = false;          // quantised: rows of bytes, sums of int32
  bool depthwise = false;      // one channel each, dense
  bool chained = false;        // a 1x1 layer that takes a tile over from the layer before: its rows are sums of that
  int panels = 1;              // parts of the outputs that run beside each other
};

// The rows of one tap in a block: channels[first .. first + count).
struct Rows {
  uint32_t tap, first, count;
};
// Visits with the same number of entries, one after another in the stream. A visit: two uint16 rows of sums,
// then `entries` uint16 offsets (padded to four bytes), then entries * share weights.
struct Group {
  uint64_t stream;
  uint32_t visits, entries;
};
struct Block {
  uint32_t rows, row_count, groups, group_count;
  uint64_t dead;  // of a quantised layer: where its part of `Packed::dead` begins
};
struct Panel {
  int64_t channel;  // the first that its rows count from
  int64_t output, outputs;
  uint32_t blocks, block_count;
};

// The output at a place of an order; null: as they stand.
inline int64_t ordered(const uint32_t* order, int64_t place) { return order ? int64_t(order[place]) : place; }

struct Packed {
  Choice choice;
  Array<Panel> panels;
  Array<Block> blocks;
  Array<Rows> rows;
  Array<Group> groups;
  Array<uint32_t> channels;
  Array<uint8_t> stream;
  // Which output each row of sums is of, where outputs that share zeros were brought together; empty: as they stand. `bias`, `start`,
  // `scales`, `dead` and the outputs of a panel count rows of sums too. An output that stands twice is written twice.
  Array<uint32_t> order;
  Array<float> bias;
  Array<float> dense;  // weights of a depthwise layer
  // Of a quantised layer, an output each: where sums start, what a number of the sums is worth. `dead`: see zero_sums.
  Array<int32_t> start, dead;
  Array<float> scales;
  bool offsets = false;     // a float bias, in `bias`
  float low = 0, high = 0;  // in units of the output, before its zero point is added
  int64_t nonzeros = 0, stored = 0;  // of the weights, and with the zeros that sharing stores
  int64_t sums = 0;                  // rows of sums that a panel needs at most
  int64_t live_rows = 0;
  int64_t places(int64_t outputs) const { return order.empty() ? outputs : int64_t(order.size()); }
  int64_t output(int64_t place) const { return ordered(order.data(), place); }
  int64_t bytes() const {
    return int64_t(stream.size() + (channels.size() + order.size()) * 4 + rows.size() * sizeof(Rows) + groups.size() * sizeof(Group) +
                   (bias.size() + dense.size() + start.size() + dead.size() + scales.size()) * 4);
  }
};

struct Region {
  int32_t top, bottom, left, right;
  int64_t first_tile, tiles;
};

// What is added to the sums: a tensor that is broadcast by strides of 0.
struct Added {
  const float* data = nullptr;
  int64_t batch = 0, channel = 0, row = 0, column = 0;
};

// One run of one layer; a unit is a tile of pixels of one image for one panel of outputs.
struct Job {
  const Layer* layer;
  const Packed* packed;
  const float* x;
  float* y;
  const uint8_t *bytes, *byte_planes;                    // of a quantised layer, instead of x and source
  void* out;                                             // and instead of y
  Added added;
  int64_t batch, in_height, in_width, height, width;     // of x and y
  int64_t plane_height, plane_width, plane, image;       // of source planes; numbers in a plane and in all of an image
  const float* source;                                   // planes: x itself, or its phases
  int64_t before[2];                                     // padding
  // A stride makes several planes of a channel, its phases; those that a tap reads have a place, others -1.
  int8_t phase_place[kPhases];
  int phases;
  Region regions[kCuts * kCuts];
  int region_count;
  int64_t tiles, units;
  const Job* next;  // the 1x1 layer behind this one in a chain: it goes on with each tile; of that, only sizes, y and added are read
};

// Rows of sums that a tile needs: of a chain, those of one layer are read while those of the next are written.
inline int64_t sum_rows(const Job& job) {
  int64_t most = 0;
  for (const Job* j = &job; j; j = j->next) most = j->packed->sums > most ? j->packed->sums : most;
  return job.next ? 2 * most : most;
}

// Sums and what is added to them, each with strides over the dims of the output.
struct Broadcast {
  int rank;
  int64_t dims[kRank], sum_strides[kRank], added_strides[kRank];
  const float *sums, *added;
  float* y;
};

// What an instruction set offers.
struct Kernels {
  const char* name;
  int lanes, together;
  int vectors[3];  // most in a tile, for 1, 2 and 4 outputs that share
  void (*unit)(const Job&, int64_t unit, void* scratch);
  void (*phases)(const Job&, int64_t channel, float* out);              // of one channel of one image: batch * channels + channel
  void (*depthwise)(const Job&, int64_t unit, void* scratch);           // of one channel of one image
  void (*tiny)(const Job&, const float* rows, int64_t panel);           // rows: x as [input][1, 4 or 8]
  void (*broadcast)(const Layer&, int step, const Broadcast&);  // a step and what follows it, where the addition is larger
  double (*dense_rate)();                                               // multiply-adds a nanosecond that the processor can do
};

// What an instruction set offers to quantised layers. All give the same integers.
struct ByteKernels {
  const char* name;
  void (*unit)(const Job&, int64_t unit, void* scratch);
  void (*phases)(const Job&, int64_t channel, uint8_t* out);  // of one channel of one image
  double (*rate)();                                           // multiply-adds a nanosecond that the processor can do
  double reach[3];  // share of that inside kernels, for 1, 2 and 4 outputs that share zeros
};

inline int tiny_width(int64_t rows) { return rows == 1 ? 1 : rows <= 4 ? 4 : 8; }

// The best that this processor can run; `wanted` limits it by name (tests), null where there is none of that name.
const Kernels* kernels(const char* wanted);
const ByteKernels* byte_kernels(const char* wanted);
bool fast_bytes();  // instructions that multiply and add four bytes at once, which ONNX Runtime uses
int64_t first_cache();  // bytes
int64_t second_cache();

}  // namespace secateur
