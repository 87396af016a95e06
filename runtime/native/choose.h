#pragma once
#include "pack.h"
#include "session.h"

namespace secateur {

// Numbers of a layer that its cost depends on besides the weights.
struct Sizes {
  int64_t batch = 1, height = 0, width = 0;  // of the input; of a matrix, the width counts rows
};
// As far as the graph says; sizes it does not know are guessed at.
Sizes sizes(const Layer& layer);

// Milliseconds on one thread.
struct Cost {
  double ours = 0, dense = 0;
  bool depthwise = false;
  bool bytes = false;  // ONNX Runtime would compute it in bytes, channels last
  double border = 0;  // of turning the input and the output from and to the blocked layout of ONNX Runtime's convolutions
};

// Multiply-adds a nanosecond, measured once a process.
double peak(const Kernels* kernels);
// The part of a kernel's multiply-adds that does not fall on padding.
double inside(const Layer& layer, const int64_t* in, const int64_t* before, const int64_t* out);
bool choose_bytes(const Layer& layer, const Census& census, const Sizes& sizes, const Session& session, Choice* choice, Cost* cost);
// Of a layer that takes over the tiles of the layer before: their most vectors, and how many vectors all take the time of.
struct Tiling {
  int vectors = 0;
  double all = 0;
};
// How it would be computed, and for how much; false where no kernel serves it.
bool choose(const Layer& layer, const Census& census, const Sizes& sizes, const Session& session, Choice* choice, Cost* cost,
            Tiling given = {});

constexpr double kMargin = 0.9;  // of the dense time that a claimed piece may be expected to take
// The largest share of kept weights, in percent, with which the layer would be claimed: kept by each output for itself, or by
// `together` of them at once; `border` is what claiming it costs besides, in milliseconds.
int worth(const Session& session, const Layer& layer, double border, int together);

// Layers one behind the other, of which each is the only reader of the one before.
struct Link {
  const Layer* layer;
  const Census* census;
  Choice choice;
  double cost;  // milliseconds in the chain
};
// How they would be computed a tile at a time, and how many milliseconds less it would take than one by one; false where they cannot.
bool choose_chain(Link* links, int count, const Session& session, double* gain);

}  // namespace secateur
