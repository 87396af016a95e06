// A claimed piece of a graph, compiled: packed weights, and how a run goes.
#pragma once
#include "graph.h"
#include "ort.h"
#include "pack.h"
#include "session.h"

namespace secateur {

// One layer of a piece.
struct Stage {
  Layer layer;  // its pointers to weights are void after packing
  Packed packed;
  size_t record = SIZE_MAX;  // its place among the session's
  double part = 1;           // of the piece's time, as expected
};

struct Piece : ort::ComputeInfo {
  ort::Api api;
  Session* session = nullptr;
  Stage stages[kChain];
  int count = 1;  // above one: a chain, each layer goes on with the tiles of the one before
};

// One run: reads the inputs from the context and writes the output. Null is success.
ort::Status* run(Piece& piece, ort::Context* context);

}  // namespace secateur
