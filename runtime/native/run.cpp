// One run of a piece: sizes, planes, tiles shared among threads.
#include <time.h>

#include "piece.h"
#include "plan.h"
#include "shapes.h"

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

// What a thread begins with: all units of some neighbouring tiles. Of two tiles side by side each channel has a line of memory
// in common, which threads that write them at the same time take from each other; and what a thread has written of one layer
// lies in its own cache when it reads that of the next.
struct alignas(64) Range {
  int64_t next, end, first, tiles;
};
constexpr int64_t kRanges = 64;

// Work that threads share: each takes the units of its range, then what others have left of theirs.
struct Shared {
  const Job* job;
  Session* session;
  size_t scratch = 0;
  void* made = nullptr;         // phases or widened planes
  const float* rows = nullptr;  // of a tiny matrix
  int64_t units = 0, tiles = 1;  // tiles follow each other within an image and panel
  int64_t ranges = 1, others = 0;
  Range range[kRanges];
  bool failed = false;
  void (*work)(Shared&, int64_t unit, void* scratch) = nullptr;
};

// Whether this is the thread that shares the work: `s` lies on its stack, a few calls above. A wrong answer costs time alone.
bool calls(const Shared& s) {
  char here;
  const uintptr_t above = reinterpret_cast<uintptr_t>(&s) - reinterpret_cast<uintptr_t>(&here);
  return above < (64 << 10);
}

void worker(void* data, size_t) {
  Shared& s = *static_cast<Shared*>(data);
  void* scratch = nullptr;
  const int64_t own = calls(s) ? 0 : 1 + __atomic_fetch_add(&s.others, 1, __ATOMIC_RELAXED);
  for (int64_t k = 0; k < s.ranges; k++) {
    Range& range = s.range[(own + k) % s.ranges];
    for (;;) {
      int64_t i = __atomic_fetch_add(&range.next, 1, __ATOMIC_RELAXED);
      if (i >= range.end) break;
      if (s.scratch && !scratch && !(scratch = s.session->buffers.borrow(s.scratch))) {
        __atomic_store_n(&s.failed, true, __ATOMIC_RELAXED);
        return;
      }
      s.work(s, i / range.tiles * s.tiles + range.first + i % range.tiles, scratch);
    }
  }
  if (scratch) s.session->buffers.give_back(scratch);
}

// False where memory ran out.
bool share(const Api& api, const Context* context, Shared& s) {
  if (s.units <= 0) return true;
  int64_t workers = s.units < s.session->threads ? s.units : s.session->threads;
  s.ranges = workers < kRanges ? workers : kRanges;
  if (s.tiles < s.ranges) s.tiles = s.units;  // too few tiles: any units
  for (int64_t k = 0; k < s.ranges; k++) {
    int64_t first = s.tiles * k / s.ranges, tiles = s.tiles * (k + 1) / s.ranges - first;
    s.range[k] = {0, s.units / s.tiles * tiles, first, tiles};
  }
  s.others = 0;
  if (workers <= 1) {
    worker(&s, 0);
  } else if (!api.ok(api.parallel_for(context, worker, size_t(workers), size_t(workers), &s))) {
    return false;
  }
  return !s.failed;
}

// Rows of x as [input][width], zeros behind the last.
void turn(const Job& job, int width, float* out) {
  for (int64_t i = 0; i < job.layer->inputs; i++) {
    for (int m = 0; m < width; m++) *out++ = m < job.width ? job.x[m * job.layer->inputs + i] : 0;
  }
}

bool compute(Piece& piece, const Context* context, Job& job) {
  Session& session = *piece.session;
  Shared s;
  s.job = &job;
  s.session = &session;
  const bool bytes = piece.packed.choice.bytes;
  job.source = job.x;
  job.byte_planes = job.bytes;
  void* made = nullptr;
  int64_t numbers = piece.packed.choice.tiny ? job.layer->inputs * tiny_width(job.width) : source_numbers(job);
  if (numbers && !(made = session.buffers.borrow(size_t(numbers) * (bytes ? 1 : 4)))) return false;
  s.made = made;
  bool fine = true;
  if (piece.packed.choice.tiny) {
    s.rows = static_cast<float*>(made);
    turn(job, tiny_width(job.width), static_cast<float*>(made));
    s.units = s.tiles = int64_t(piece.packed.panels.size());
    s.work = [](Shared& t, int64_t unit, void*) { t.session->kernels->tiny(*t.job, t.rows, unit); };
  } else {
    if (numbers) {
      bool strided = job.layer->stride[0] > 1 || job.layer->stride[1] > 1;
      s.units = job.batch * job.layer->groups * job.layer->inputs;
      s.work = bytes     ? [](Shared& t, int64_t unit, void*) { t.session->bytes->phases(*t.job, unit, static_cast<uint8_t*>(t.made)); }
               : strided ? [](Shared& t, int64_t unit, void*) { t.session->kernels->phases(*t.job, unit, static_cast<float*>(t.made)); }
                         : [](Shared& t, int64_t unit, void*) { widen(*t.job, unit, static_cast<float*>(t.made)); };
      s.tiles = s.units;
      fine = share(piece.api, context, s);
      job.source = static_cast<float*>(made);
      job.byte_planes = static_cast<uint8_t*>(made);
    }
    bool depthwise = piece.packed.choice.depthwise;
    s.units = depthwise ? job.batch * job.layer->groups : job.units;
    s.tiles = depthwise ? s.units : job.tiles;
    s.scratch = scratch_bytes(*job.layer, piece.packed);
    s.work = bytes       ? [](Shared& t, int64_t unit, void* scratch) { t.session->bytes->unit(*t.job, unit, scratch); }
             : depthwise ? [](Shared& t, int64_t unit, void* scratch) { t.session->kernels->depthwise(*t.job, unit, scratch); }
                         : [](Shared& t, int64_t unit, void* scratch) { t.session->kernels->unit(*t.job, unit, scratch); };
  }
  fine = fine && share(piece.api, context, s);
  if (made) session.buffers.give_back(made);
  return fine;
}

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
  const Layer& layer = piece.layer;
  double start = now();
  auto error = [&](int code, const char* text) { return api.error(code, text); };
  Tensor x, added;
  int addition = -1;
  for (int i = 0; i < layer.step_count; i++) {
    if (layer.steps[i].op == Op::add) addition = i;
  }
  if (!read(api, context, layer.x, layer.quantised.on ? layer.quantised.in : Type::float32, &x) ||
      (addition >= 0 && !read(api, context, layer.steps[addition].input, Type::float32, &added)))
    return error(kInvalidArgument, "secateur: an input of a convolution or matrix is not of the type that the model says");
  bool matrix = layer.kind == Kind::matrix;
  int rank = x.shape.rank;
  if (rank != layer.shape.rank || x.shape.dims[matrix ? rank - 1 : 1] != (matrix ? layer.inputs : layer.groups * layer.inputs))
    return error(kInvalidArgument, "secateur: the input has not the rank or the channels that the weights are for");
  Job job{};
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
  if (!empty && !plan(layer, piece.packed, batch, height, width, piece.session->threads, &job))
    return error(kInvalidArgument, "secateur: the input is larger than can be computed");
  sums.dims[matrix ? rank - 1 : 1] = layer.outputs;
  if (!matrix && layer.spatial == 2) sums.dims[2] = size[0];
  if (!matrix) sums.dims[rank - 1] = size[1];
  Shape shape = sums;
  if (addition >= 0 && !joined(sums, added.shape, &shape)) return error(kInvalidArgument, "secateur: an addition of shapes that do not fit");
  Value* output = nullptr;
  void* y = nullptr;
  if (volume(shape) < 0 || !api.ok(api.output(context, 0, shape.dims, size_t(shape.rank), &output)) || !output || !api.ok(api.data(output, &y)))
    return error(kFail, "secateur: no memory for an output");
  if (volume(shape) == 0) return nullptr;
  job.x = x.floats();
  job.bytes = static_cast<const uint8_t*>(x.data);
  job.y = static_cast<float*>(y);
  job.out = y;
  bool fine;
  if (addition < 0 || (same(shape, sums) && fits(layer, sums, added, &job))) {
    fine = compute(piece, context, job);
  } else {  // the sums are smaller than what is added, or it is broadcast in an unusual way: in two passes
    Layer plain = layer;
    plain.step_count = addition;
    job.layer = &plain;
    job.added = {};
    Broadcast b{};
    b.rank = shape.rank;
    memcpy(b.dims, shape.dims, sizeof shape.dims);
    b.y = job.y;
    b.added = added.floats();
    job.y = static_cast<float*>(piece.session->buffers.borrow(size_t(volume(sums)) * 4));
    b.sums = job.y;
    fine = job.y && strides(sums, shape, b.sum_strides) && strides(added.shape, shape, b.added_strides) && compute(piece, context, job);
    if (fine) piece.session->kernels->broadcast(layer, addition, b);
    if (job.y) piece.session->buffers.give_back(job.y);
  }
  if (!fine) return error(kFail, "secateur: no memory for a convolution or matrix");
  double time = now() - start;
  Guard guard(piece.session->lock);
  if (piece.record < piece.session->records.size()) {
    Record* r = &piece.session->records[piece.record];
    r->best = r->calls == 0 || time < r->best ? time : r->best;
    r->total += time;
    r->calls++;
  }
  return nullptr;
}

}  // namespace secateur
