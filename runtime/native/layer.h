// What one claimed piece of a graph computes: a convolution or a matrix product, and what is fused behind it.
#pragma once
#include <stdint.h>

namespace secateur {

enum class Kind { convolution, matrix };
enum class Pad { given, same_upper, same_lower, valid };
// What happens to a sum before it is written, in order.
enum class Op { add, relu, leaky, clip, sigmoid, hard_sigmoid, hard_swish, silu, gelu, gelu_tanh };

struct Step {
  Op op;
  float a = 0, b = 0;  // bounds of a clip, slopes
  int input = -1;      // add: which input of the fused node
};

enum class Type { float32, uint8, int8 };

// Of a quantised layer: int8 weights, numbers of one byte in, and bytes or floats out. A real is scale * (number - zero).
struct Quantised {
  bool on = false;
  Type in = Type::uint8, out = Type::float32;
  int in_zero = 0, out_zero = 0;
  float in_scale = 1, out_scale = 1;
  const int8_t* weights = nullptr;  // in the order of Layer's strides
  const float* scales = nullptr;    // of the weights, one an output or one
  int64_t scale_count = 0;
  const int32_t* bias = nullptr;    // in units of the input's scale times the weights'; a float bias is Layer's
  float low = 0, high = 0;          // reals that are written, from activations; set by what matches
};

constexpr int kSteps = 4, kRank = 8;
constexpr int64_t kLimit = int64_t(1) << 30;  // of any one size, and of the elements of a plane or of the weights

struct Shape {
  int rank = 0;
  int64_t dims[kRank] = {};  // -1 is unknown
};

struct Layer {
  Kind kind = Kind::convolution;
  Pad pad = Pad::given;
  int spatial = 2;  // of a convolution: 1 or 2; 1-D ones have a first axis of size 1
  int64_t groups = 1, outputs = 0, inputs = 0;  // outputs in all; inputs of one group
  int64_t kernel[2] = {1, 1}, stride[2] = {1, 1}, dilation[2] = {1, 1}, before[2] = {}, after[2] = {};
  // Weight of output o and row r (channel, then tap) is weights[o * output_stride + r * row_stride] * scale.
  const float* weights = nullptr;
  int64_t output_stride = 0, row_stride = 0;
  float scale = 1;
  const float *bias = nullptr, *more_bias = nullptr;  // more_bias: a constant that is added; either may be one number
  int64_t bias_size = 0, more_bias_size = 0;
  float bias_scale = 1;
  int x = 0;  // which input of the fused node
  Quantised quantised;
  Step steps[kSteps];
  int step_count = 0;
  Shape shape;  // of x, as far as the graph says

  int64_t taps() const { return kernel[0] * kernel[1]; }
  int64_t rows() const { return inputs * taps(); }
  bool pointwise() const {
    return taps() == 1 && stride[0] == 1 && stride[1] == 1 && !before[0] && !before[1] && !after[0] && !after[1];
  }
  // Are outputs cut where a tap begins or ends to fall on padding? Rows keep their neighbours, columns cost more.
  bool cut(int axis) const { return kernel[axis] > 1 && dilation[axis] > (axis ? 7 : 1); }
  float bias_of(int64_t o) const {
    float sum = bias ? bias_scale * bias[bias_size == 1 ? 0 : o] : 0;
    return more_bias ? sum + more_bias[more_bias_size == 1 ? 0 : o] : sum;
  }
};

}  // namespace secateur
