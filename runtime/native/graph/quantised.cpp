// Quantised layers as `onnxruntime.quantization` writes them: DequantizeLinear before a convolution or matrix, QuantizeLinear behind.
#include <math.h>
#include <string.h>

#include "graph.h"

namespace secateur {
using namespace ort;
namespace {

struct Quantizer {  // a QuantizeLinear or DequantizeLinear with constant numbers
  const Node* node = nullptr;
  const ValueInfo* from = nullptr;
  Raw scale, zero;  // zero.count is 0 where there is none
};

const ValueInfo* output(const Reader& r, const Node* node) {
  const ValueInfo* out[kEnds] = {};
  return r.outputs(node, out) == 1 ? out[0] : nullptr;
}

// False where the scale or the zero point is not constant, not float32, not finite or in blocks.
bool read(const Reader& r, const Node* node, Quantizer* out) {
  const ValueInfo* in[kEnds] = {};
  int n = r.inputs(node, in);
  out->node = node;
  if (n < 2 || n > 3 || r.integer(node, "block_size", 0)) return false;
  out->from = in[0];
  if (!r.raw(in[1], &out->scale) || out->scale.element != kFloat || out->scale.count < 1) return false;
  const float* scales = static_cast<const float*>(out->scale.data);
  for (int64_t i = 0; i < out->scale.count; i++) {
    if (!isfinite(scales[i]) || scales[i] < 0) return false;
  }
  return n < 3 || !in[2] || r.raw(in[2], &out->zero);
}

bool dequantizer(const Reader& r, const ValueInfo* value, Quantizer* out, const char** why) {
  const Node *node = r.producer(value), *users[kEnds] = {};
  if (!node || !r.is(node, "DequantizeLinear")) return false;
  if (!read(r, node, out)) *why = "a scale or zero point that is not constant, not finite or in blocks";
  else if (r.consumers(value, users) != 1) *why = "a dequantised value that others read too";
  return true;
}

bool all_zero(const Raw& zero) {
  const uint8_t* bytes = static_cast<const uint8_t*>(zero.data);
  for (int64_t i = 0; i < zero.count * (zero.element == kInt32 ? 4 : 1); i++) {
    if (bytes[i]) return false;
  }
  return true;
}

bool byte(int element) { return element == kUint8 || element == kInt8; }

// The zero point of a value that has one for all; false where there are several or it is of another type.
bool one_zero(const Quantizer& q, int element, int* out) {
  *out = 0;
  if (q.scale.count != 1 || q.zero.count > 1) return false;
  if (q.zero.count == 0) return true;
  if (q.zero.element != element) return false;
  *out = element == kInt8 ? *static_cast<const int8_t*>(q.zero.data) : *static_cast<const uint8_t*>(q.zero.data);
  return true;
}

// Is the scale of a bias that of its products? ONNX Runtime takes it for granted.
bool scale_fits(const Quantizer& bias, const Quantised& q, int64_t outputs) {
  const float* scales = static_cast<const float*>(bias.scale.data);
  if (bias.scale.count != 1 && bias.scale.count != outputs) return false;
  for (int64_t o = 0; o < outputs; o++) {
    float wanted = q.in_scale * q.scales[q.scale_count == 1 ? 0 : o], is = scales[bias.scale.count == 1 ? 0 : o];
    if (fabsf(is - wanted) > 1e-3f * wanted) return false;
  }
  return true;
}

const char* bias(const Reader& r, const ValueInfo* value, int64_t outputs, Match* out) {
  Quantizer b;
  Raw raw;
  const char* why = nullptr;
  auto along_outputs = [&] { return raw.count == outputs && (raw.shape.rank < 2 || raw.shape.dims[raw.shape.rank - 1] == outputs); };
  if (r.raw(value, &raw) && raw.element == kFloat && along_outputs()) {
    out->layer.bias = static_cast<const float*>(raw.data);
    out->layer.bias_size = raw.count;
    return nullptr;
  }
  if (!dequantizer(r, value, &b, &why)) return "a bias that is not constant";
  if (why) return why;
  if (!r.raw(b.from, &raw) || raw.element != kInt32 || !along_outputs() || !all_zero(b.zero) ||
      !scale_fits(b, out->layer.quantised, outputs))
    return "a bias that is not int32 in units of its products";
  out->layer.quantised.bias = static_cast<const int32_t*>(raw.data);
  out->nodes[out->node_count++] = b.node;
  return nullptr;
}

}  // namespace

const char* dequantise(const Reader& r, const ValueInfo* const* in, int n, int output_axis, Match* out) {
  Quantised& q = out->layer.quantised;
  Quantizer w, x;
  Raw weights, input;
  Shape shape;
  const char* why = nullptr;
  int element = 0;
  if (!dequantizer(r, in[1], &w, &why)) return nullptr;
  if (why) return why;
  if (!r.raw(w.from, &weights)) return "weights are not constant";
  if (weights.element != kInt8) return "weights are quantised, but not as int8";
  if (!all_zero(w.zero)) return "weights with a zero point";
  if (!dequantizer(r, in[0], &x, &why)) return "weights are quantised, the input is not";
  if (why) return why;
  if (!r.shape(x.from, &shape, &element) || !byte(element)) return "the input is quantised, but not as uint8 or int8";
  if (r.raw(x.from, &input)) return "the input is constant";
  if (!one_zero(x, element, &q.in_zero)) return "an input with several scales";
  int rank = weights.shape.rank;
  if (rank < 2) return "weights are not a matrix";
  int64_t outputs = weights.shape.dims[output_axis], axis = r.integer(w.node, "axis", 1);
  if (w.scale.count != 1 && (w.scale.count != outputs || (axis != output_axis && axis != output_axis - rank)))
    return "weights with scales along another axis than the outputs";
  q.on = true;
  q.in = element == kInt8 ? Type::int8 : Type::uint8;
  q.in_scale = *static_cast<const float*>(x.scale.data);
  q.weights = static_cast<const int8_t*>(weights.data);
  q.scales = static_cast<const float*>(w.scale.data);
  q.scale_count = w.scale.count;
  q.low = -INFINITY, q.high = INFINITY;
  out->x = x.from;
  out->nodes[out->node_count++] = x.node;
  out->nodes[out->node_count++] = w.node;
  return n == 3 && in[2] ? bias(r, in[2], outputs, out) : nullptr;
}

const char* requantise(const Reader& r, const ValueInfo* value, Match* out) {
  Quantised& q = out->layer.quantised;
  auto clip = [](float x, float a, float b) { return x < a ? a : x > b ? b : x; };
  out->end = value;
  while (value && out->node_count < kNodes) {
    const Node* users[kEnds] = {};
    if (r.consumers(value, users) != 1 || r.is_taken(users[0])) break;
    Step step{};
    Quantizer y;
    Shape shape;
    int element = 0;
    const ValueInfo* end = output(r, users[0]);
    if (r.is(users[0], "Relu") || r.is(users[0], "Clip")) {
      if (!activation(r, users[0], &step)) break;
      float a = step.op == Op::relu ? 0 : step.a, b = step.op == Op::relu ? INFINITY : step.b;
      q.low = clip(q.low, a, b), q.high = clip(q.high, a, b);
      value = end;
    } else if (r.is(users[0], "QuantizeLinear") && read(r, users[0], &y) && r.shape(end, &shape, &element) && byte(element) &&
               one_zero(y, element, &q.out_zero)) {
      q.out = element == kInt8 ? Type::int8 : Type::uint8;
      q.out_scale = *static_cast<const float*>(y.scale.data);
      value = nullptr;
    } else {
      break;
    }
    out->nodes[out->node_count++] = users[0];
    out->end = end;
  }
  for (int64_t i = 0; i < q.scale_count; i++) {
    if (!isfinite(q.in_scale * q.scales[i] / (q.out == Type::float32 ? 1 : q.out_scale))) return "scales whose ratio is out of bounds";
  }
  return nullptr;
}

}  // namespace secateur
