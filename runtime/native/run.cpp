// One run of a piece: inputs and output as ONNX Runtime has them, sizes, additions in an unusual shape.
#include <time.h>

#include "piece.h"
#include "plan.h"
#include "shapes.h"
#include "share.h"

namespace secateur {
using namespace ort;
namespace {

struct Tensor {
  Shape shape;
  const void* data = nullptr;
  const float* floats() const { return static_cast<const float*>(data); }
};

int element_of(Type type) { return type == Type::float32 ? kFloat : type == Type::uint8 ? kUint8 : kInt8; }

bool read(const Api& api, const Context* context, int index, Type type, Tensor* out) {
  const Value* value = nullptr;
  TensorInfo* info = nullptr;
  size_t rank = 0;
  int element = 0;
  if (index < 0 || !api.ok(api.input(context, size_t(index), &value)) || !value || !api.ok(api.shape(value, &info)) || !info) return false;
  bool fine = api.ok(api.element(info, &element)) && element == element_of(type) && api.ok(api.rank(info, &rank)) && rank <= kRank &&
              (rank == 0 || api.ok(api.dims(info, out->shape.dims, rank)));
  api.release(info);
  out->shape.rank = int(rank);
  return fine && api.ok(api.data(value, &out->data));
}

// The threads of the session.
struct SessionPool : Pool {
  SessionPool(const Api& a, const Context* c) : Pool{share}, api(a), context(c) {}
  static bool share(const Pool& self, Work work, size_t count, void* data) {
    const auto& pool = static_cast<const SessionPool&>(self);
    return pool.api.ok(pool.api.parallel_for(pool.context, work, count, count, data));
  }
  const Api& api;
  const Context* context;
};

// Fills job.added; false where its strides are not what kernels know.
bool fits(const Layer& layer, const Shape& sums, const Tensor& added, Job* job) {
  int64_t s[kRank] = {};
  if (!strides(added.shape, sums, s)) return false;
  Added& a = job->added;
  a.data = added.floats();
  if (layer.kind == Kind::convolution) {
    a.batch = s[0], a.channel = s[1];
    a.row = layer.spatial == 2 ? s[2] : 0;
    a.column = s[sums.rank - 1];
    if (layer.spatial == 1) a.row = a.column ? job->width : 0;
    if (job->width == 1 && layer.spatial == 2 && a.row == 1) a.column = 1;  // one column: rows lie beside each other
    return true;
  }
  // Of a matrix, all axes but the last have to be one.
  a.channel = s[sums.rank - 1];
  int64_t n = 1, step = 0;
  for (int i = sums.rank - 2; i >= 0; i--) {
    if (sums.dims[i] == 1) continue;
    if (n == 1) step = s[i];
    if (s[i] != step * n) return false;
    n *= sums.dims[i];
  }
  a.row = step;
  return true;
}

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) * 1e3 + double(t.tv_nsec) * 1e-6;
}

}  // namespace

Status* run(Piece& piece, Context* context) {
  const Api& api = piece.api;
  const Layer &layer = piece.stages[0].layer, &last = piece.stages[piece.count - 1].layer;
  double start = now();
  auto error = [&](int code, const char* text) { return api.error(code, text); };
  Tensor x, added;
  int addition = -1;
  for (int i = 0; i < last.step_count; i++) {
    if (last.steps[i].op == Op::add) addition = i;
  }
  if (!read(api, context, layer.x, layer.quantised.on ? layer.quantised.in : Type::float32, &x) ||
      (addition >= 0 && !read(api, context, last.steps[addition].input, Type::float32, &added)))
    return error(kInvalidArgument, "secateur: an input of a convolution or matrix is not of the type that the model says");
  bool matrix = layer.kind == Kind::matrix;
  int rank = x.shape.rank;
  if (rank != layer.shape.rank || x.shape.dims[matrix ? rank - 1 : 1] != (matrix ? layer.inputs : layer.groups * layer.inputs))
    return error(kInvalidArgument, "secateur: the input has not the rank or the channels that the weights are for");
  Job jobs[kChain] = {}, &job = jobs[0], &end = jobs[piece.count - 1];
  Shape sums = x.shape;
  int64_t batch = matrix ? 1 : x.shape.dims[0], height = 1, width = x.shape.dims[rank - 1];
  if (matrix) {
    Shape leading = x.shape;
    leading.rank--;
    width = volume(leading);
  } else if (layer.spatial == 2) {
    height = x.shape.dims[2];
  }
  int64_t before[2], size[2] = {1, width};
  if (!matrix && !output_size(layer, height, width, before, size))
    return error(kInvalidArgument, "secateur: the input is smaller than the kernel");
  bool empty = volume(x.shape) == 0 || size[0] == 0 || size[1] == 0;
  if (!empty && !plan(layer, piece.stages[0].packed, batch, height, width, piece.session->threads, &job))
    return error(kInvalidArgument, "secateur: the input is larger than can be computed");
  for (int i = 1; i < piece.count; i++) plan_behind(piece.stages[i].layer, piece.stages[i].packed, &jobs[i - 1], &jobs[i]);
  sums.dims[matrix ? rank - 1 : 1] = last.outputs;
  if (!matrix && layer.spatial == 2) sums.dims[2] = size[0];
  if (!matrix) sums.dims[rank - 1] = size[1];
  Shape shape = sums;
  if (addition >= 0 && !joined(sums, added.shape, &shape)) return error(kInvalidArgument, "secateur: an addition of shapes that do not fit");
  Value* output = nullptr;
  void* y = nullptr;
  if (volume(shape) < 0 || !api.ok(api.output(context, 0, shape.dims, size_t(shape.rank), &output)) || !output || !api.ok(api.data(output, &y)))
    return error(kFail, "secateur: no memory for an output");
  if (volume(shape) == 0) return nullptr;
  if (empty) return error(kInvalidArgument, "secateur: an input without pixels, whose padding alone makes an output");
  job.x = x.floats();
  job.bytes = static_cast<const uint8_t*>(x.data);
  end.y = static_cast<float*>(y);
  job.out = y;
  const SessionPool pool(api, context);
  bool fine;
  if (addition < 0 || (same(shape, sums) && fits(last, sums, added, &end))) {
    fine = compute(*piece.session, pool, job);
  } else {  // the sums are smaller than what is added, or it is broadcast in an unusual way: in two passes
    Layer plain = last;
    plain.step_count = addition;
    end.layer = &plain;
    end.added = {};
    Broadcast b{};
    b.rank = shape.rank;
    memcpy(b.dims, shape.dims, sizeof shape.dims);
    b.y = end.y;
    b.added = added.floats();
    end.y = static_cast<float*>(piece.session->buffers.borrow(size_t(volume(sums)) * 4));
    b.sums = end.y;
    fine = end.y && strides(sums, shape, b.sum_strides) && strides(added.shape, shape, b.added_strides) && compute(*piece.session, pool, job);
    if (fine) piece.session->kernels->broadcast(last, addition, b);
    if (end.y) piece.session->buffers.give_back(end.y);
  }
  if (!fine) return error(kFail, "secateur: no memory for a convolution or matrix");
  double time = now() - start;
  Guard guard(piece.session->lock);
  for (int i = 0; i < piece.count; i++) {
    if (piece.stages[i].record >= piece.session->records.size()) continue;
    Record* r = &piece.session->records[piece.stages[i].record];
    double part = time * piece.stages[i].part;
    r->best = r->calls == 0 || part < r->best ? part : r->best;
    r->total += part;
    r->calls++;
  }
  return nullptr;
}

}  // namespace secateur
