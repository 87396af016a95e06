// Layers without ONNX Runtime: random shapes, threads and calls at once against a plain loop (under sanitizers:
// `make -C runtime sanitize` and `race`), and times of one layer for tuning:
// `harness time inputs outputs kernel stride dilation height width density pattern [vectors block]`.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bytes.h"
#include "chains.h"

using namespace secateur;

static uint64_t state = 1;
static uint32_t next(uint32_t below) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return uint32_t(state >> 33) % below;
}
static float number() { return float(next(2001)) / 1000.f - 1.f; }

static double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) * 1e3 + double(t.tv_nsec) * 1e-6;
}

static void put(Array<float>& a, size_t n) {
  if (!a.resize(n)) abort();
}

static void randomize(const Layer& l, Array<float>& w, double density, int pattern) {
  int64_t rows = l.rows();
  for (int64_t o = 0; o < l.outputs; o += pattern) {
    for (int64_t r = 0; r < rows; r++) {
      bool kept = next(100000) < density * 100000;
      for (int64_t p = o; p < o + pattern && p < l.outputs; p++) w[size_t(p * rows + r)] = kept ? number() + 1e-3f : 0;
    }
  }
}

// Outputs change places, and blocks lose their neighbours; some lose a weight or two of their own.
static void shuffle(const Layer& l, Array<float>& w) {
  const size_t rows = size_t(l.rows());
  for (size_t o = size_t(l.outputs) - 1; o > 0; o--) {
    const size_t other = next(uint32_t(o + 1));
    for (size_t r = 0; r < rows; r++) {
      const float held = w[o * rows + r];
      w[o * rows + r] = w[other * rows + r], w[other * rows + r] = held;
    }
    if (next(4) == 0) w[o * rows + next(uint32_t(rows))] = 0;
  }
}

static double expected(const Layer& l, const Job& job, const float* w, int64_t n, int64_t o, int64_t y, int64_t x) {
  int64_t per = l.outputs / l.groups, first = o / per * l.inputs;
  double sum = 0;
  for (int64_t c = 0; c < l.inputs; c++) {
    for (int64_t ky = 0; ky < l.kernel[0]; ky++) {
      for (int64_t kx = 0; kx < l.kernel[1]; kx++) {
        int64_t iy = y * l.stride[0] + ky * l.dilation[0] - job.before[0], ix = x * l.stride[1] + kx * l.dilation[1] - job.before[1];
        if (iy < 0 || ix < 0 || iy >= job.in_height || ix >= job.in_width) continue;
        if (l.kind == Kind::matrix) {
          sum += double(job.x[x * l.inputs + c]) * double(w[o * l.inputs + c]);
          continue;
        }
        double in = job.x[((n * l.groups * l.inputs + first + c) * job.in_height + iy) * job.in_width + ix];
        sum += in * double(w[(o * l.inputs + c) * l.taps() + ky * l.kernel[1] + kx]);
      }
    }
  }
  return sum;
}

// Whether three calls at the same time give what one gave.
static bool alike(Session& session, const Threads& threads, const Job& job, const Array<float>& y) {
  struct Call {
    Session* session;
    const Threads* threads;
    Job job;
    Array<float> y;
    bool fine;
  } calls[3];
  pthread_t on[3];
  for (int i = 0; i < 3; i++) {
    Call& call = calls[i];
    call.session = &session, call.threads = &threads, call.job = job;
    put(call.y, y.size());
    call.job.y = call.y.data();
    auto go = [](void* data) -> void* {
      Call& c = *static_cast<Call*>(data);
      c.fine = compute(*c.session, *c.threads, c.job);
      return nullptr;
    };
    if (pthread_create(&on[i], nullptr, go, &call)) return false;
  }
  bool fine = true;
  for (int i = 0; i < 3; i++) {
    pthread_join(on[i], nullptr);
    fine &= calls[i].fine && !memcmp(calls[i].y.data(), y.data(), y.size() * sizeof(float));
  }
  if (!fine) printf("%s: three calls at once give something else than one\n", session.kernels->name);
  return fine;
}

static void check(const Kernels& k, int times) {
  for (int i = 0; i < times; i++) {
    Session session;  // its buffers are no larger than this layer needs
    session.kernels = &k;
    Layer l;
    l.groups = next(4) ? 1 : 1 + next(3);
    l.inputs = 1 + next(40);
    l.outputs = l.groups * (1 + next(30));
    if (next(5) == 0) l.inputs = 1, l.outputs = l.groups = 1 + next(9);
    for (int a = 0; a < 2; a++) {
      l.kernel[a] = 1 + next(3), l.stride[a] = 1 + next(3), l.dilation[a] = next(2) ? 1 : 1 + next(10);
      l.before[a] = next(12), l.after[a] = next(12);
    }
    if (next(3) == 0) {
      l.kernel[0] = l.kernel[1] = l.stride[0] = l.stride[1] = 1;
      l.before[0] = l.before[1] = l.after[0] = l.after[1] = 0;
    }
    l.pad = Pad(next(5) < 3 ? 0 : next(4));
    Sizes sizes{1 + next(2), 1 + next(30), 1 + next(70)};
    l.shape.rank = 4;
    if (next(4) == 0) {
      l = Layer();
      l.kind = Kind::matrix, l.inputs = 1 + next(200), l.outputs = 1 + next(90), l.shape.rank = 2;
      sizes = {1, 1, 1 + next(next(2) ? 8 : 70)};
      l.shape.dims[0] = next(2) ? sizes.width : -1;  // known, so that there is a kernel for few rows
    }
    Array<float> w, x, y;
    put(w, size_t(l.outputs * l.rows()));
    randomize(l, w, l.groups > 1 && l.outputs == l.groups ? 1 : double(next(100)) / 100, 1 << next(3));
    if (next(2)) shuffle(l, w);
    for (int64_t o = 0; o < l.outputs && next(3) == 0; o++) {  // dead outputs
      if (next(2)) memset(w.data() + o * l.rows(), 0, size_t(l.rows()) * sizeof(float));
    }
    l.weights = w.data(), l.output_stride = l.rows(), l.row_stride = 1;
    put(x, size_t(sizes.batch * l.groups * l.inputs * sizes.height * sizes.width));
    for (float& f : x) f = number();
    Census census;
    Choice choice;
    Cost cost;
    Packed packed;
    Job job{};
    session.options.share = next(2) ? 0 : 1 << next(3);
    session.cache = int64_t(1) << (11 + next(5));
    session.threads = 1 + next(4);
    if (!count(l, true, &census) || !choose(l, census, sizes, session, &choice, &cost)) continue;
    if (!pack(l, choice, census, nullptr, &packed) || !plan(l, packed, sizes.batch, sizes.height, sizes.width, session.threads, &job)) continue;
    put(y, size_t(sizes.batch * l.outputs * job.height * job.width));
    for (float& f : y) f = NAN;
    job.x = x.data(), job.y = y.data();
    const Threads threads(int(next(4)));
    if (!compute(session, threads, job) || !alike(session, threads, job, y)) exit(1);
    for (int64_t n = 0, at = 0; n < sizes.batch; n++) {
      for (int64_t o = 0; o < l.outputs; o++) {
        for (int64_t p = 0; p < job.height * job.width; p++, at++) {
          double wanted = expected(l, job, w.data(), n, o, p / job.width, p % job.width);
          double is = double(y[size_t(l.kind == Kind::matrix ? p * l.outputs + o : at)]);
          if (!(fabs(wanted - is) <= 1e-4)) {
            printf("%s, layer %d: output %lld pixel %lld is %g, not %g\n", k.name, i, (long long)o, (long long)p, is, wanted);
            exit(1);
          }
        }
      }
    }
  }
  printf("%s: %d layers are right\n", k.name, times);
}

int main(int n, char** v) {
  if (n < 2 || v[1][0] != 't') {
    const char* names[] = {"portable", "avx2", "avx512", "neon"};
    for (const char* name : names) {
      const Kernels* k = kernels(name);
      if (!k) continue;
      int times = n > 1 ? atoi(v[1]) : 200;
      check(*k, times);
      for (int i = 0; i < times; i++) {
        if (!check_bytes(*k, *byte_kernels(name), next)) return 1;
      }
      printf("%s bytes: %d layers are right\n", byte_kernels(name)->name, times);
      for (int i = 0; i < times;) {
        Chained is = check_chain(*k, next);
        if (is == Chained::wrong) return 1;
        i += is == Chained::right;
      }
      printf("%s: %d chains are right\n", k->name, times);
    }
    return 0;
  }
  Session session;
  session.kernels = kernels(getenv("ISA"));
  session.cache = first_cache();
  Layer l;
  l.inputs = atoi(v[2]), l.outputs = atoi(v[3]);
  for (int a = 0; a < 2; a++) {
    l.kernel[a] = atoi(v[4]), l.stride[a] = atoi(v[5]), l.dilation[a] = atoi(v[6]);
    l.before[a] = l.after[a] = l.dilation[a] * (l.kernel[a] / 2);
  }
  Sizes sizes{1, atoi(v[7]), atoi(v[8])};
  Array<float> w, x, y;
  put(w, size_t(l.outputs * l.rows()));
  randomize(l, w, atof(v[9]), atoi(v[10]));
  l.weights = w.data(), l.output_stride = l.rows(), l.row_stride = 1, l.shape.rank = 4;
  put(x, size_t(l.inputs * sizes.height * sizes.width));
  for (float& f : x) f = number();
  Census census;
  Choice choice;
  Cost cost;
  Packed packed;
  Job job{};
  if (!count(l, true, &census) || !choose(l, census, sizes, session, &choice, &cost)) return 1;
  if (n > 11 && atoi(v[11])) choice.vectors = atoi(v[11]);
  if (n > 12 && atoi(v[12])) choice.block = atoi(v[12]);
  if (n > 13) choice.direct = atoi(v[13]);
  if (!pack(l, choice, census, nullptr, &packed) || !plan(l, packed, 1, sizes.height, sizes.width, 1, &job)) return 1;
  put(y, size_t(l.outputs * job.height * job.width));
  job.x = x.data(), job.y = y.data();
  double best = 1e9, start = now();
  while (now() - start < 400) {
    double before = now();
    compute(session, Threads(0), job);
    double t = now() - before;
    best = t < best ? t : best;
  }
  printf("T %d block %d share %d%s: %.4f ms, %.0f GF/s of %.0f, model %.4f (dense %.4f)\n", choice.vectors, choice.block, choice.share,
         choice.direct ? " direct" : "", best, 2e-6 * double(census.nonzeros) * double(job.height * job.width) / best,
         2 * session.kernels->dense_rate(), cost.ours, cost.dense);
}
