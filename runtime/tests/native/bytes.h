// Quantised layers against a plain loop; part of the harness, which has the random numbers.
#pragma once
#include "choose.h"
#include "plan.h"
#include "pool.h"

namespace secateur {

inline int64_t byte_of(const uint8_t* p, Type type) { return type == Type::int8 ? int8_t(*p) : *p; }

inline int64_t byte_sum(const Layer& l, const Job& job, int64_t n, int64_t o, int64_t y, int64_t x) {
  int64_t first = o / (l.outputs / l.groups) * l.inputs, sum = 0;
  const Quantised& q = l.quantised;
  for (int64_t c = 0; c < l.inputs; c++) {
    for (int64_t ky = 0; ky < l.kernel[0]; ky++) {
      for (int64_t kx = 0; kx < l.kernel[1]; kx++) {
        int64_t iy = y * l.stride[0] + ky * l.dilation[0] - job.before[0], ix = x * l.stride[1] + kx * l.dilation[1] - job.before[1];
        if (iy < 0 || ix < 0 || iy >= job.in_height || ix >= job.in_width) continue;
        const uint8_t* in = l.kind == Kind::matrix ? job.bytes + x * l.inputs + c
                                                   : job.bytes + ((n * l.groups * l.inputs + first + c) * job.in_height + iy) * job.in_width + ix;
        sum += (byte_of(in, q.in) - q.in_zero) * q.weights[(o * l.inputs + c) * l.taps() + ky * l.kernel[1] + kx];
      }
    }
  }
  return sum + (q.bias ? q.bias[o] : 0);
}

// One random layer; false where it is wrong.
template <class Next>
bool check_bytes(const Kernels& k, const ByteKernels& bytes, Next next) {
  Session session;
  session.kernels = &k;
  session.bytes = &bytes;
  Layer l;
  Quantised& q = l.quantised;
  bool matrix = next(4) == 0;
  l.groups = matrix || next(3) ? 1 : 1 + next(3);
  l.inputs = 1 + next(60);
  l.outputs = l.groups * (1 + next(40));
  for (int a = 0; a < 2 && !matrix; a++) {
    l.kernel[a] = 1 + next(3), l.stride[a] = 1 + next(3), l.dilation[a] = next(2) ? 1 : 1 + next(10);
    l.before[a] = next(12), l.after[a] = next(12);
  }
  if (matrix) l.kind = Kind::matrix;
  Sizes sizes{matrix ? 1 : 1 + int64_t(next(2)), matrix ? 1 : 1 + int64_t(next(30)), 1 + int64_t(next(150))};
  l.shape.rank = matrix ? 2 : 4;
  Array<int8_t> w;
  Array<int32_t> bias;
  Array<float> scales, copy;
  Array<uint8_t> x, y;
  auto put = [](auto& a, int64_t n) { if (!a.resize(size_t(n))) abort(); };
  put(w, l.outputs * l.rows());
  uint32_t density = next(100), pattern = 1u << next(3);
  bool apart = next(2);
  for (int64_t o = 0; o < l.outputs; o++) {
    for (int64_t r = 0; r < l.rows(); r++) {
      // Those that share zeros lie beside each other, or as far apart as can be.
      int64_t like = !apart ? (o % pattern ? o - 1 : -1) : o - (l.outputs + pattern - 1) / pattern;
      bool kept = like >= 0 ? w[size_t(like * l.rows() + r)] != 0 : next(100) < density;
      w[size_t(o * l.rows() + r)] = kept ? int8_t(next(2) ? -1 - int(next(128)) : 1 + int(next(127))) : int8_t(0);
    }
  }
  put(bias, l.outputs), put(scales, l.outputs);
  for (int32_t& b : bias) b = int32_t(next(20000)) - 10000;
  for (float& s : scales) s = 0.001f * float(1 + next(20));
  q.on = true;
  q.in = next(2) ? Type::uint8 : Type::int8;
  q.out = Type(next(3));
  q.in_zero = int(next(256)) - (q.in == Type::int8 ? 128 : 0);
  q.out_zero = int(next(256)) - (q.out == Type::int8 ? 128 : 0);
  q.in_scale = 0.02f, q.out_scale = 0.3f;
  q.weights = w.data(), q.scales = scales.data(), q.scale_count = l.outputs, q.bias = bias.data();
  q.low = next(2) ? 0 : -1e30f, q.high = next(2) ? 6 : 1e30f;
  l.output_stride = l.rows(), l.row_stride = 1;
  put(x, sizes.batch * l.groups * l.inputs * sizes.height * sizes.width);
  for (uint8_t& b : x) b = uint8_t(next(256));
  Census census;
  Choice choice;
  Cost cost;
  Packed packed;
  Job job{};
  session.options.share = next(2) ? 0 : 1 << next(3);
  session.cache = int64_t(1) << (11 + next(5));
  session.threads = 1 + int(next(4));
  if (!upright(&l, &copy) || !count(l, true, &census) || !choose(l, census, sizes, session, &choice, &cost)) return true;
  if (!pack(l, choice, census, nullptr, &packed) || !plan(l, packed, sizes.batch, sizes.height, sizes.width, session.threads, &job)) return true;
  int64_t pixels = job.height * job.width, wide = q.out == Type::float32 ? 4 : 1;
  put(y, sizes.batch * l.outputs * pixels * wide);
  memset(y.data(), 0xff, y.size());
  job.bytes = x.data(), job.out = y.data();
  if (!compute(session, Threads(int(next(4))), job)) return false;
  for (int64_t n = 0; n < sizes.batch; n++) {
    for (int64_t o = 0; o < l.outputs; o++) {
      for (int64_t p = 0; p < pixels; p++) {
        float scale = q.in_scale * scales[size_t(o)], real = float(byte_sum(l, job, n, o, p / job.width, p % job.width)) * scale;
        int64_t at = matrix ? p * l.outputs + o : (n * l.outputs + o) * pixels + p;
        double least = q.out == Type::int8 ? -128 : 0, wanted = real < q.low ? q.low : real > q.high ? q.high : real, is;
        float number;
        if (wide == 4) {
          memcpy(&number, y.data() + at * 4, 4);
          is = double(number);
        } else {
          wanted = wanted / double(q.out_scale) + q.out_zero;
          wanted = wanted < least ? least : wanted > least + 255 ? least + 255 : wanted;
          is = double(byte_of(y.data() + at, q.out));
        }
        double apart = is > wanted ? is - wanted : wanted - is, most = wide == 4 ? 1e-4 * (1 + (wanted < 0 ? -wanted : wanted)) : 0.501;
        if (apart <= most) continue;  // not where it is not a number
        printf("%s bytes: output %lld pixel %lld is %g, not %g\n", bytes.name, (long long)o, (long long)p, is, wanted);
        return false;
      }
    }
  }
  return true;
}

}  // namespace secateur
