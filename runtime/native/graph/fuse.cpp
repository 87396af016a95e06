// What is fused behind a convolution or a matrix: additions, activations, and activations written out in pieces.
#include <math.h>
#include <string.h>

#include "graph.h"

namespace secateur {
using namespace ort;

// The constant number among a node's inputs, or NaN.
static float scalar(const Reader& r, const ValueInfo* value) {
  Constant c;
  return r.constant(value, &c) && c.count == 1 ? c.data[0] : NAN;
}

static bool near(float a, float b) { return fabsf(a - b) <= 1e-5f * fabsf(b); }

static const ValueInfo* output(const Reader& r, const Node* node) {
  const ValueInfo* out[kEnds] = {};
  return r.outputs(node, out) == 1 ? out[0] : nullptr;
}

// The only consumer of a node's output, if it is the operation; `other` is its other input.
static const Node* next(const Reader& r, const ValueInfo* value, const char* operation, const ValueInfo** other) {
  const Node* user[kEnds] = {};
  const ValueInfo* in[kEnds] = {};
  if (!value || r.consumers(value, user) != 1 || !r.is(user[0], operation)) return nullptr;
  int n = r.inputs(user[0], in);
  if (other && n != 2) return nullptr;
  if (other) *other = in[0] == value ? in[1] : in[0];
  return user[0];
}

bool activation(const Reader& r, const Node* node, Step* step) {
  const ValueInfo* in[kEnds] = {};
  int n = r.inputs(node, in);
  const char* name = r.operation(node);
  auto is = [&](const char* wanted) { return !strcmp(name, wanted); };
  if (is("Relu")) {
    step->op = Op::relu;
  } else if (is("LeakyRelu")) {
    *step = {Op::leaky, r.number(node, "alpha", 0.01f)};
  } else if (is("Sigmoid")) {
    step->op = Op::sigmoid;
  } else if (is("HardSwish")) {
    step->op = Op::hard_swish;
  } else if (is("HardSigmoid")) {
    *step = {Op::hard_sigmoid, r.number(node, "alpha", 0.2f), r.number(node, "beta", 0.5f)};
  } else if (is("Gelu")) {
    bool tanh = r.text_is(node, "approximate", "tanh", false);
    if (!tanh && !r.text_is(node, "approximate", "none", true)) return false;
    step->op = tanh ? Op::gelu_tanh : Op::gelu;
  } else if (is("Clip")) {
    *step = {Op::clip, r.number(node, "min", -INFINITY), r.number(node, "max", INFINITY)};
    if (n > 1 && in[1] && isnan(step->a = scalar(r, in[1]))) return false;
    if (n > 2 && in[2] && isnan(step->b = scalar(r, in[2]))) return false;
    return step->a <= step->b;
  } else {
    return false;
  }
  return true;
}

// x * Sigmoid(x) and x * HardSigmoid(x): both users of x, in either order.
static bool gated(const Reader& r, const ValueInfo* value, const Node** users, Step* step, const Node** nodes) {
  for (int i = 0; i < 2; i++) {
    const ValueInfo* other = nullptr;
    const Node* product = next(r, output(r, users[i]), "Mul", &other);
    if (!product || product != users[1 - i] || other != value) continue;
    if (r.is(users[i], "Sigmoid")) {
      step->op = Op::silu;
    } else if (r.is(users[i], "HardSigmoid") && near(r.number(users[i], "alpha", 0.2f), 1 / 6.f) &&
               near(r.number(users[i], "beta", 0.5f), 0.5f)) {
      step->op = Op::hard_swish;
    } else {
      continue;
    }
    nodes[0] = users[i];
    nodes[1] = product;
    return true;
  }
  return false;
}

// x * 0.5 * (1 + Erf(x / sqrt 2)), with the half multiplied last, as exporters write it.
static bool erf_gelu(const Reader& r, const ValueInfo* value, const Node** users, const Node** nodes) {
  for (int i = 0; i < 2; i++) {
    const ValueInfo *in[kEnds] = {}, *other = nullptr;
    bool division = r.is(users[i], "Div");
    if ((!division && !r.is(users[i], "Mul")) || r.inputs(users[i], in) != 2) continue;
    float factor = scalar(r, in[0] == value ? in[1] : in[0]);
    if (division ? in[0] != value || !near(factor, 1.41421356f) : !near(factor, 0.70710678f)) continue;
    const Node* erf = next(r, output(r, users[i]), "Erf", nullptr);
    const Node* add = erf ? next(r, output(r, erf), "Add", &other) : nullptr;
    if (!add || scalar(r, other) != 1) continue;
    const Node* product = next(r, output(r, add), "Mul", &other);
    if (!product || product != users[1 - i] || other != value) continue;
    const Node* half = next(r, output(r, product), "Mul", &other);
    if (!half || scalar(r, other) != 0.5f) continue;
    const Node* all[] = {users[i], erf, add, product, half};
    memcpy(nodes, all, sizeof all);
    return true;
  }
  return false;
}

// A constant of one number an output, or of one number, laid out so that it falls on the outputs' axis.
static bool bias_like(const Layer& layer, const Constant& c) {
  if (c.count == 1) return c.shape.rank <= (layer.kind == Kind::matrix ? layer.shape.rank : layer.spatial + 2);
  if (c.count != layer.outputs) return false;
  int behind = layer.kind == Kind::matrix ? 0 : layer.spatial, axis = c.shape.rank - 1 - behind;
  return axis >= 0 && axis <= layer.shape.rank - 1 - behind && c.shape.dims[axis] == layer.outputs;
}

static bool addition(const Reader& r, const ValueInfo* value, const Node* node, Match* out, Step* step) {
  const ValueInfo* in[kEnds] = {};
  Shape shape;
  Constant c;
  int element = 0;
  if (!r.is(node, "Add") || r.inputs(node, in) != 2 || in[0] == in[1]) return false;
  const ValueInfo* other = in[0] == value ? in[1] : in[0];
  if (!r.shape(other, &shape, &element) || element != kFloat) return false;
  if (r.constant(other, &c)) {
    if (out->layer.step_count || out->layer.more_bias || !bias_like(out->layer, c)) return false;
    out->layer.more_bias = c.data;
    out->layer.more_bias_size = c.count;
    return true;
  }
  if (out->added || shape.rank < 1 || shape.rank > out->layer.shape.rank) return false;
  out->added = other;
  step->op = Op::add;
  step->input = 0;  // found when it is compiled
  return true;
}

void fuse(const Reader& r, const ValueInfo* value, Match* out) {
  Layer& layer = out->layer;
  while (value && layer.step_count < kSteps && out->node_count + 5 <= kNodes) {
    const Node *users[kEnds] = {}, *nodes[5] = {};
    Step step{};
    int n = r.consumers(value, users), taken = 1;
    bool was_constant = layer.more_bias != nullptr;
    nodes[0] = users[0];
    for (int i = 0; i < n; i++) {
      if (r.is_taken(users[i])) return;
    }
    if (n == 1) {
      if (!activation(r, users[0], &step) && !addition(r, value, users[0], out, &step)) return;
    } else if (n == 2 && gated(r, value, users, &step, nodes)) {
      taken = 2;
    } else if (n == 2 && erf_gelu(r, value, users, nodes)) {
      step.op = Op::gelu;
      taken = 5;
    } else {
      return;
    }
    if (was_constant == (layer.more_bias != nullptr)) layer.steps[layer.step_count++] = step;
    for (int i = 0; i < taken; i++) out->nodes[out->node_count++] = nodes[i];
    value = out->end = output(r, nodes[taken - 1]);
  }
}

}  // namespace secateur
