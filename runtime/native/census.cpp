// What is read off a layer's weights and scales before they are packed.
#include "pack.h"

namespace secateur {

// Groups of `share` outputs never reach over the border of a convolution's group.
bool count(const Layer& layer, Census* out) {
  Array<uint8_t> any2, any4, live;
  int64_t rows = layer.rows(), per_group = layer.outputs / layer.groups;
  if (!any2.resize(size_t(rows)) || !any4.resize(size_t(rows)) || !live.resize(size_t(rows))) return false;
  *out = Census();
  out->weights = layer.outputs * rows;
  for (int64_t o = 0; o < layer.outputs; o++) {
    int64_t in_group = o % per_group;
    const float* w = layer.weights + o * layer.output_stride;
    bool last = in_group == per_group - 1;
    int64_t found = 0;
    for (int64_t r = 0; r < rows; r++) {
      uint8_t one = w[r * layer.row_stride] != 0;
      found += one;
      any2[size_t(r)] |= one;
      any4[size_t(r)] |= one;
      live[size_t(r)] |= one;
    }
    out->nonzeros += found;
    if (in_group % 2 == 1 || last) {
      for (auto& a : any2) out->pairs += a, a = 0;
    }
    if (in_group % 4 == 3 || last) {
      for (auto& a : any4) out->quads += a, a = 0;
    }
    if (last) {
      for (auto& a : live) out->live_rows += a, a = 0;
    }
  }
  return true;
}

bool upright(Layer* layer, Array<float>* copy) {
  const int8_t* bytes = layer->quantised.on ? layer->quantised.weights : nullptr;
  if (layer->row_stride == 1 && !bytes) return true;
  int64_t rows = layer->rows(), outputs = layer->outputs;
  constexpr int64_t kSide = 32;
  if (!copy->resize(size_t(rows * outputs))) return false;
  for (int64_t r0 = 0; r0 < rows; r0 += kSide) {
    for (int64_t o0 = 0; o0 < outputs; o0 += kSide) {
      for (int64_t r = r0; r < r0 + kSide && r < rows; r++) {
        for (int64_t o = o0; o < o0 + kSide && o < outputs; o++) {
          int64_t from = o * layer->output_stride + r * layer->row_stride;
          (*copy)[size_t(o * rows + r)] = bytes ? float(bytes[from]) : layer->weights[from];
        }
      }
    }
  }
  layer->weights = copy->data();
  layer->output_stride = rows;
  layer->row_stride = 1;
  return true;
}

bool requantisation(const Layer& layer, Packed* out) {
  const Quantised& q = layer.quantised;
  bool bytes = q.out != Type::float32;
  if (!out->start.resize(size_t(layer.outputs)) || !out->scales.resize(size_t(layer.outputs))) return false;
  for (int64_t o = 0; o < layer.outputs; o++) {
    float scale = q.in_scale * q.scales[q.scale_count == 1 ? 0 : o];  // in the order in which ONNX Runtime multiplies
    out->scales[size_t(o)] = bytes ? scale / q.out_scale : scale;
    out->start[size_t(o)] = q.bias ? q.bias[o] : 0;
    if (bytes) out->bias[size_t(o)] /= q.out_scale;
    out->offsets |= out->bias[size_t(o)] != 0;
  }
  out->low = q.low, out->high = q.high;
  if (!bytes) return true;
  float least = float((q.out == Type::int8 ? -128 : 0) - q.out_zero), most = least + 255;
  auto within = [&](float x) { return x < least ? least : x > most ? most : x; };
  out->low = within(q.low / q.out_scale), out->high = within(q.high / q.out_scale);
  return true;
}

}  // namespace secateur
