// What is read off a layer's weights and scales before they are packed, besides counts (order.cpp).
#include "pack.h"

namespace secateur {

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
  const int64_t places = out->places(layer.outputs);
  if (!out->start.resize(size_t(places)) || !out->scales.resize(size_t(places))) return false;
  for (int64_t p = 0; p < places; p++) {
    const int64_t o = out->output(p);
    float scale = q.in_scale * q.scales[q.scale_count == 1 ? 0 : o];  // in the order in which ONNX Runtime multiplies
    out->scales[size_t(p)] = bytes ? scale / q.out_scale : scale;
    out->start[size_t(p)] = q.bias ? q.bias[o] : 0;
    if (bytes) out->bias[size_t(p)] /= q.out_scale;
    out->offsets |= out->bias[size_t(p)] != 0;
  }
  out->low = q.low, out->high = q.high;
  if (!bytes) return true;
  float least = float((q.out == Type::int8 ? -128 : 0) - q.out_zero), most = least + 255;
  auto within = [&](float x) { return x < least ? least : x > most ? most : x; };
  out->low = within(q.low / q.out_scale), out->high = within(q.high / q.out_scale);
  return true;
}

}  // namespace secateur
