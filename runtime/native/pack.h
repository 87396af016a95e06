#pragma once
#include "packed.h"

namespace secateur {

// Counts of one layer's weights: what the choice of a kernel rests on.
struct Census {
  int64_t weights = 0, nonzeros = 0;
  // Places where any of two, of four outputs beside each other is nonzero: as they stand, or in `order` where that is clearly fewer.
  int64_t pairs = 0, quads = 0;
  int64_t live_rows = 0;   // inputs and taps that any output uses
  Array<uint32_t> order;   // of the outputs, group after group, some of them twice
  int fewer = 0;           // 2, 4 or both: for so many that share zeros it is taken
  bool ordered(int share) const { return share > 1 && (fewer & share); }
  double density() const { return weights ? double(nonzeros) / double(weights) : 1; }
};
// Fills an empty census, where `arrange` with an order. False where memory ran out.
bool count(const Layer& layer, bool arrange, Census* out);
// Of a quantised layer, weights are made floats, exactly.
// Weights whose outputs lie beside each other are copied, so that those of one output do.
bool upright(Layer* layer, Array<float>* copy);

// What turns sums of a quantised layer into numbers of its output. False where memory ran out.
bool requantisation(const Layer& layer, Packed* out);
// Packs for a choice; `before`: the layer whose sums are the rows of a chained one, otherwise null. False where memory ran out.
bool pack(const Layer& layer, const Choice& choice, const Census& census, const Packed* before, Packed* out);

}  // namespace secateur
