// Planes, then tiles, shared among threads.
#include "share.h"

#include "plan.h"

namespace secateur {
namespace {

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
bool share(const Pool& pool, Shared& s) {
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
  } else if (!pool.run(pool, worker, size_t(workers), &s)) {
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

// A tiny matrix, kTinyRows rows at a time: there may be more than the graph said.
bool few_rows(const Pool& pool, Shared& s, float* rows) {
  const Job& all = *s.job;
  const int64_t inputs = all.layer->inputs, outputs = all.layer->outputs;
  Job part = all;
  s.job = &part;
  s.rows = rows;
  s.units = s.tiles = int64_t(all.packed->panels.size());
  s.work = [](Shared& t, int64_t unit, void*) { t.session->kernels->tiny(*t.job, t.rows, unit); };
  bool fine = true;
  for (int64_t first = 0; first < all.width && fine; first += kTinyRows) {
    part.width = all.width - first < kTinyRows ? all.width - first : kTinyRows;
    part.x = all.x + first * inputs, part.y = all.y + first * outputs;
    if (all.added.data) part.added.data = all.added.data + first * all.added.row;
    turn(part, tiny_width(part.width), rows);
    fine = share(pool, s);
  }
  return fine;
}

}  // namespace

bool compute(Session& session, const Pool& pool, Job& job) {
  Shared s;
  s.job = &job;
  s.session = &session;
  const Choice& choice = job.packed->choice;
  const bool bytes = choice.bytes;
  job.source = job.x;
  job.byte_planes = job.bytes;
  void* made = nullptr;
  int64_t numbers = choice.tiny ? job.layer->inputs * tiny_width(job.width) : source_numbers(job);
  if (numbers && !(made = session.buffers.borrow(size_t(numbers) * (bytes ? 1 : 4)))) return false;
  s.made = made;
  bool fine = true;
  if (choice.tiny) {
    fine = few_rows(pool, s, static_cast<float*>(made));
  } else {
    if (numbers) {
      bool strided = job.layer->stride[0] > 1 || job.layer->stride[1] > 1;
      s.units = job.batch * job.layer->groups * job.layer->inputs;
      s.work = bytes     ? [](Shared& t, int64_t unit, void*) { t.session->bytes->phases(*t.job, unit, static_cast<uint8_t*>(t.made)); }
               : strided ? [](Shared& t, int64_t unit, void*) { t.session->kernels->phases(*t.job, unit, static_cast<float*>(t.made)); }
                         : [](Shared& t, int64_t unit, void*) { widen(*t.job, unit, static_cast<float*>(t.made)); };
      s.tiles = s.units;
      fine = share(pool, s);
      job.source = static_cast<float*>(made);
      job.byte_planes = static_cast<uint8_t*>(made);
    }
    bool depthwise = choice.depthwise;
    s.units = depthwise ? job.batch * job.layer->groups : job.units;
    s.tiles = depthwise ? s.units : job.tiles;
    s.scratch = scratch_bytes(job);
    s.work = bytes       ? [](Shared& t, int64_t unit, void* scratch) { t.session->bytes->unit(*t.job, unit, scratch); }
             : depthwise ? [](Shared& t, int64_t unit, void* scratch) { t.session->kernels->depthwise(*t.job, unit, scratch); }
                         : [](Shared& t, int64_t unit, void* scratch) { t.session->kernels->unit(*t.job, unit, scratch); };
  }
  fine = fine && (choice.tiny || share(pool, s));
  if (made) session.buffers.give_back(made);
  return fine;
}

}  // namespace secateur
