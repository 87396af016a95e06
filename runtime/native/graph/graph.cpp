#include "graph.h"

#include <string.h>

namespace secateur {
using namespace ort;

const char* Reader::name(const Node* node) const {
  const char* text = nullptr;
  const ValueInfo* out[kEnds] = {};
  if (api.ok(api.name(node, &text)) && text && *text) return text;
  return outputs(node, out) > 0 && out[0] && api.ok(api.name(out[0], &text)) && text ? text : "";
}

const char* Reader::operation(const Node* node) const {
  const char *text = nullptr, *domain = nullptr;
  if (!api.ok(api.domain(node, &domain)) || !api.ok(api.operation(node, &text)) || !text) return "";
  if (!domain || !*domain || !strcmp(domain, "ai.onnx")) return text;
  // What ONNX Runtime makes of a Gelu in pieces before opset 20.
  return !strcmp(domain, "com.microsoft") && !strcmp(text, "Gelu") ? text : "";
}

bool Reader::is(const Node* node, const char* wanted) const { return !strcmp(operation(node), wanted); }

int Reader::inputs(const Node* node, const ValueInfo** out) const {
  size_t n = 0;
  if (!api.ok(api.input_count(node, &n)) || n > kEnds) return -1;
  return api.ok(api.inputs(node, out, n)) ? int(n) : -1;
}

int Reader::outputs(const Node* node, const ValueInfo** out) const {
  size_t n = 0;
  if (!api.ok(api.output_count(node, &n)) || n > kEnds) return -1;
  return api.ok(api.outputs(node, out, n)) ? int(n) : -1;
}

bool Reader::shape(const ValueInfo* value, Shape* out, int* element) const {
  const TypeInfo* type = nullptr;
  const TensorInfo* tensor = nullptr;
  size_t rank = 0;
  if (!value || !api.ok(api.type(value, &type)) || !type || !api.ok(api.tensor_info(type, &tensor)) || !tensor) return false;
  if (!api.ok(api.element(tensor, element)) || !api.ok(api.rank(tensor, &rank)) || rank > kRank) return false;
  out->rank = int(rank);
  return rank == 0 || api.ok(api.dims(tensor, out->dims, rank));
}

bool Reader::raw(const ValueInfo* value, Raw* out) const {
  bool is = false;
  const Value* tensor = nullptr;
  TensorInfo* info = nullptr;
  size_t rank = 0;
  if (!value || !api.ok(api.is_constant(value, &is)) || !is || !api.ok(api.initializer(value, &tensor)) || !tensor) return false;
  if (!api.ok(api.shape(tensor, &info)) || !info) return false;
  bool fine = api.ok(api.element(info, &out->element)) && api.ok(api.rank(info, &rank)) && rank <= kRank &&
              (rank == 0 || api.ok(api.dims(info, out->shape.dims, rank)));
  api.release(info);
  if (!fine || out->element == kText || !api.ok(api.data(tensor, &out->data))) return false;
  out->shape.rank = int(rank);
  out->count = 1;
  for (size_t i = 0; i < rank; i++) {
    if (out->shape.dims[i] < 0 || __builtin_mul_overflow(out->count, out->shape.dims[i], &out->count)) return false;
  }
  return out->count <= kLimit && (out->data || out->count == 0);
}

bool Reader::constant(const ValueInfo* value, Constant* out) const {
  Raw raw;
  if (!this->raw(value, &raw) || raw.element != kFloat) return false;
  *out = {static_cast<const float*>(raw.data), raw.shape, raw.count};
  return true;
}

const Node* Reader::producer(const ValueInfo* value) const {
  const Node* node = nullptr;
  size_t place = 0;
  return value && api.ok(api.producer(value, &node, &place)) && place == 0 ? node : nullptr;
}

bool Reader::is_taken(const Node* node) const {
  if (taken) {
    for (const Node* t : *taken) {
      if (t == node) return true;
    }
  }
  return false;
}

static const Attribute* attribute(const Reader& r, const Node* node, const char* key) {
  const Attribute* found = nullptr;
  return r.api.ok(r.api.attribute(node, key, &found)) ? found : nullptr;
}

int64_t Reader::integer(const Node* node, const char* key, int64_t otherwise) const {
  int64_t value = otherwise;
  size_t used = 0;
  const Attribute* found = attribute(*this, node, key);
  return found && api.ok(api.read(found, kInt, &value, sizeof value, &used)) ? value : otherwise;
}

float Reader::number(const Node* node, const char* key, float otherwise) const {
  float value = otherwise;
  size_t used = 0;
  const Attribute* found = attribute(*this, node, key);
  return found && api.ok(api.read(found, kFloatAttribute, &value, sizeof value, &used)) ? value : otherwise;
}

int Reader::integers(const Node* node, const char* key, int64_t* out, int most) const {
  size_t used = 0;
  const Attribute* found = attribute(*this, node, key);
  if (!found) return 0;
  if (!api.ok(api.read(found, kInts, out, sizeof(int64_t) * size_t(most), &used)) || used > sizeof(int64_t) * size_t(most)) return -1;
  return int(used / sizeof(int64_t));
}

bool Reader::text_is(const Node* node, const char* key, const char* text, bool otherwise) const {
  char value[32] = {};
  size_t used = 0;
  const Attribute* found = attribute(*this, node, key);
  if (!found) return otherwise;
  if (!api.ok(api.read(found, kString, value, sizeof value - 1, &used)) || used > sizeof value - 1) return false;
  return !strcmp(value, text);
}

int Reader::consumers(const ValueInfo* value, const Node** out) const {
  bool leaves = false;
  size_t n = 0;
  int64_t places[kEnds];
  if (!api.ok(api.is_graph_output(value, &leaves)) || leaves) return -1;
  if (!api.ok(api.consumer_count(value, &n)) || n > kEnds) return -1;
  return n == 0 || api.ok(api.consumers(value, out, places, n)) ? int(n) : -1;
}

}  // namespace secateur
