// Reads nodes, attributes and constants of ONNX Runtime's graph; whatever cannot be read is "no", never an error.
#pragma once
#include "layer.h"
#include "memory.h"
#include "ort.h"

namespace secateur {

constexpr int kNodes = 10, kEnds = 6;  // nodes in one fused piece; inputs or outputs of a node that is looked at

// A constant of any element type.
struct Raw {
  const void* data = nullptr;
  int element = 0;
  Shape shape;
  int64_t count = 0;
};
struct Constant {
  const float* data = nullptr;
  Shape shape;
  int64_t count = 0;
};

// A piece that can be claimed: its nodes, and the values it reads besides constants.
struct Match {
  Layer layer;
  const ort::Node* nodes[kNodes];
  int node_count = 0;
  const ort::ValueInfo *x = nullptr, *added = nullptr, *end = nullptr;  // end: what it writes
  const char* refusal = nullptr;  // why the node is left, where it is a convolution or a matrix
};

class Reader {
 public:
  explicit Reader(ort::Api api) : api(api) {}
  bool is(const ort::Node* node, const char* operation) const;
  const char* name(const ort::Node* node) const;  // that of its output where it has none
  const char* operation(const ort::Node* node) const;
  int inputs(const ort::Node* node, const ort::ValueInfo** out) const;   // how many, -1 where there are more than kEnds
  int outputs(const ort::Node* node, const ort::ValueInfo** out) const;
  bool shape(const ort::ValueInfo* value, Shape* out, int* element) const;
  bool raw(const ort::ValueInfo* value, Raw* out) const;
  bool constant(const ort::ValueInfo* value, Constant* out) const;  // of float32
  int64_t integer(const ort::Node* node, const char* key, int64_t otherwise) const;
  float number(const ort::Node* node, const char* key, float otherwise) const;
  // Values of the list, 0 where there is none, -1 where there are more than `most`.
  int integers(const ort::Node* node, const char* key, int64_t* out, int most) const;
  bool text_is(const ort::Node* node, const char* key, const char* text, bool otherwise) const;
  // The consumers of a node's first output; -1 where it is one of the graph's outputs or has more than kEnds.
  int consumers(const ort::ValueInfo* value, const ort::Node** out) const;

  const ort::Node* producer(const ort::ValueInfo* value) const;  // null where there is none
  bool is_taken(const ort::Node* node) const;

  ort::Api api;
  const Array<const ort::Node*>* taken = nullptr;  // nodes that are fused behind another piece already
};

// Is this node a convolution or a matrix product with constant weights, and what can be fused behind it?
// False with `refusal` set where it is such a node but cannot be ours, without where it is another kind of node.
bool match(const Reader& reader, const ort::Node* node, Match* out);
// Adds to `out` what follows: additions and activations.
void fuse(const Reader& reader, const ort::ValueInfo* value, Match* out);
// The same two for a layer that is quantised. The first leaves `quantised.on` false where it is not; else it reads inputs, weights
// and bias, and says why the layer cannot be ours or null.
const char* dequantise(const Reader& reader, const ort::ValueInfo* const* in, int n, int output_axis, Match* out);
const char* requantise(const Reader& reader, const ort::ValueInfo* value, Match* out);
// Does an activation follow here, and which?
bool activation(const Reader& reader, const ort::Node* node, Step* step);

}  // namespace secateur
