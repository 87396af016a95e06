// Which nodes are convolutions or matrix products that could be ours.
#include <string.h>

#include "graph.h"

namespace secateur {
using namespace ort;

static bool sized(int64_t value, int64_t least) { return value >= least && value <= kLimit; }

// Reads a list of one value an axis into the last axes of a pair; an absent list leaves the default.
static bool per_axis(const Reader& r, const Node* node, const char* key, int spatial, int64_t* pair) {
  int64_t values[2] = {};
  int n = r.integers(node, key, values, 2);
  if (n == 0) return true;
  if (n != spatial) return false;
  for (int i = 0; i < n; i++) pair[2 - spatial + i] = values[i];
  return sized(pair[0], 1) && sized(pair[1], 1);
}

// Shape and size of the weights that a DequantizeLinear reads.
static Constant quantised_weights(const Reader& r, const ValueInfo* value) {
  const ValueInfo* in[kEnds] = {};
  const Node* node = r.producer(value);
  Raw w;
  Constant out;
  if (!node || r.inputs(node, in) < 1 || !r.raw(in[0], &w)) return out;
  out.shape = w.shape;
  out.count = w.count;
  return out;
}

static const char* convolution(const Reader& r, const Node* node, Layer* layer, const ValueInfo** in, int n) {
  Constant w, b;
  if (n < 2 || n > 3) return "not a convolution that ONNX knows";
  if (layer->quantised.on) {
    w = quantised_weights(r, in[1]);
  } else if (!r.constant(in[1], &w)) {
    return "weights are not constant float32";
  }
  int spatial = w.shape.rank - 2;
  if (spatial < 1 || spatial > 2) return "neither 1-D nor 2-D";
  layer->spatial = spatial;
  layer->groups = r.integer(node, "group", 1);
  layer->outputs = w.shape.dims[0];
  layer->inputs = w.shape.dims[1];
  int64_t in_all;
  if (!sized(layer->groups, 1) || layer->outputs < 1 || layer->inputs < 1 || layer->outputs % layer->groups ||
      __builtin_mul_overflow(layer->groups, layer->inputs, &in_all) || in_all > kLimit)
    return "sizes that do not fit";
  for (int i = 0; i < spatial; i++) layer->kernel[2 - spatial + i] = w.shape.dims[2 + i];
  if (layer->kernel[0] < 1 || layer->kernel[1] < 1 || w.count > kLimit) return "sizes that do not fit";
  int64_t said[2] = {1, 1}, pads[4] = {};
  for (int i = 0; i < 2; i++) said[i] = layer->kernel[i];
  int pad_count = r.integers(node, "pads", pads, 4);
  if (!per_axis(r, node, "kernel_shape", spatial, said) || said[0] != layer->kernel[0] || said[1] != layer->kernel[1] ||
      !per_axis(r, node, "strides", spatial, layer->stride) || !per_axis(r, node, "dilations", spatial, layer->dilation) ||
      (pad_count != 0 && pad_count != 2 * spatial))
    return "attributes that contradict the weights";
  bool given = r.text_is(node, "auto_pad", "NOTSET", true);
  layer->pad = given                                              ? Pad::given
               : r.text_is(node, "auto_pad", "SAME_UPPER", false) ? Pad::same_upper
               : r.text_is(node, "auto_pad", "SAME_LOWER", false) ? Pad::same_lower
                                                                  : Pad::valid;
  if (layer->pad == Pad::valid && !r.text_is(node, "auto_pad", "VALID", false)) return "an auto_pad that ONNX does not know";
  for (int i = 0; i < spatial && given && pad_count; i++) {
    layer->before[2 - spatial + i] = pads[i];
    layer->after[2 - spatial + i] = pads[spatial + i];
  }
  for (int i = 0; i < 2; i++) {
    int64_t reach;
    if (!sized(layer->before[i], 0) || !sized(layer->after[i], 0)) return "padding that is negative";
    if (__builtin_mul_overflow(layer->kernel[i], layer->dilation[i], &reach) || reach > kLimit) return "sizes that do not fit";
    if (!given && layer->stride[i] >= (layer->kernel[i] - 1) * layer->dilation[i] + 5) return "strides so wide that ONNX Runtime pads otherwise";
  }
  layer->weights = w.data;
  layer->output_stride = layer->rows();
  layer->row_stride = 1;
  if (n == 3 && in[2] && !layer->quantised.on) {
    if (!r.constant(in[2], &b) || b.count != layer->outputs) return "a bias that is not constant";
    layer->bias = b.data;
    layer->bias_size = b.count;
  }
  return nullptr;
}

static const char* matrix(const Reader& r, const Node* node, Match* out, const ValueInfo** in, int n, bool gemm) {
  Layer* layer = &out->layer;
  Constant w, b;
  if (n < 2 || n > 3) return "not a product that ONNX knows";
  if (layer->quantised.on) {
    w = quantised_weights(r, in[1]);
  } else if (!r.constant(in[1], &w)) {
    return "weights are not constant float32";
  }
  if (w.shape.rank != 2 || w.count < 1) return "weights are not a matrix";
  bool transposed = gemm && r.integer(node, "transB", 0) != 0;
  if (gemm && r.integer(node, "transA", 0) != 0) return "the input is transposed";
  layer->kind = Kind::matrix;
  layer->inputs = w.shape.dims[transposed ? 1 : 0];
  layer->outputs = w.shape.dims[transposed ? 0 : 1];
  layer->output_stride = transposed ? layer->inputs : 1;
  layer->row_stride = transposed ? 1 : layer->outputs;
  layer->weights = w.data;
  if (gemm) {
    layer->scale = r.number(node, "alpha", 1);
    layer->bias_scale = r.number(node, "beta", 1);
    if (layer->quantised.on && (layer->scale != 1 || layer->bias_scale != 1)) return "a quantised product that is scaled";
  }
  if (n == 3 && in[2] && !layer->quantised.on) {
    Shape shape;
    int element = 0;
    bool constant = r.constant(in[2], &b);
    if (!constant && layer->bias_scale == 1 && r.shape(in[2], &shape, &element) && element == kFloat && shape.rank > 0 && shape.rank <= 2) {
      out->added = in[2];
      layer->steps[layer->step_count++] = {Op::add, 0, 0, 0};
      return nullptr;
    }
    bool last = constant && b.shape.rank <= 2 && (b.shape.rank < 2 || b.shape.dims[0] == 1);
    if (!last || (b.count != layer->outputs && b.count != 1)) return "a bias that is not constant, or not one number an output";
    layer->bias = b.data;
    layer->bias_size = b.count;
  }
  return nullptr;
}

bool match(const Reader& r, const Node* node, Match* out) {
  const ValueInfo *in[kEnds] = {}, *produced[kEnds] = {};
  bool conv = r.is(node, "Conv"), gemm = r.is(node, "Gemm"), product = r.is(node, "MatMul");
  if (!conv && !gemm && !product) return false;
  int n = r.inputs(node, in), element = 0;
  Layer& layer = out->layer;
  if (n < 2 || r.outputs(node, produced) != 1) {
    out->refusal = "not a node that ONNX knows";
    return false;
  }
  out->nodes[out->node_count++] = node;
  int output_axis = conv || (gemm && r.integer(node, "transB", 0)) ? 0 : 1;
  out->x = in[0];
  out->end = produced[0];
  Raw constant;
  out->refusal = r.raw(in[0], &constant) ? "the input is constant" : dequantise(r, in, n, output_axis, out);
  if (out->refusal) return false;
  out->refusal = conv ? convolution(r, node, &layer, in, n) : matrix(r, node, out, in, n, gemm);
  if (out->refusal) return false;
  if (!r.shape(out->x, &layer.shape, &element) || (!layer.quantised.on && element != kFloat)) {
    out->refusal = "the input is not float32";
    return false;
  }
  int rank = layer.shape.rank;
  int64_t channels = conv ? layer.groups * layer.inputs : layer.inputs;
  int64_t said = rank < 2 ? -1 : layer.shape.dims[conv ? 1 : rank - 1];
  if ((conv && rank != layer.spatial + 2) || (gemm && rank != 2) || rank < 2 || (said >= 0 && said != channels)) {
    out->refusal = "the input's shape is not known, or does not fit the weights";
    return false;
  }
  if (!layer.quantised.on) {
    fuse(r, produced[0], out);
    return true;
  }
  out->refusal = requantise(r, produced[0], out);
  return out->refusal == nullptr;
}

}  // namespace secateur
