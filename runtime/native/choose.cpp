// The kernel for a layer and the cost model, whose numbers were fitted by benchmarks/layers.py.
#include "choose.h"

#include "plan.h"

namespace secateur {
namespace {

constexpr double kGuess = 56;  // pixels a side, where the graph does not say
int share_index(int share) { return share == 4 ? 2 : share == 2 ? 1 : 0; }
constexpr double kReach[3] = {0.64, 0.78, 0.84};  // share of the peak inside kernels, for 1, 2 and 4 outputs that share zeros

double at_least(double a, double b) { return a > b ? a : b; }

}  // namespace

double peak(const Kernels* kernels) {
  static double measured[4];  // a process may have sessions of several instruction sets: porTable, avx2, avx512, neoN
  double rate, *kept = measured + (kernels->name[3] & 3);
  __atomic_load(kept, &rate, __ATOMIC_RELAXED);
  if (rate == 0) {
    rate = kernels->dense_rate();
    __atomic_store(kept, &rate, __ATOMIC_RELAXED);
  }
  return rate;
}

double inside(const Layer& layer, const int64_t* in, const int64_t* before, const int64_t* out) {
  double part = 1;
  for (int a = 0; a < 2; a++) {
    double sum = 0;
    for (int64_t k = 0; k < layer.kernel[a]; k++) {
      int64_t first = before[a] - k * layer.dilation[a], last = first + in[a] - 1, s = layer.stride[a];
      first = first > 0 ? (first + s - 1) / s : 0;
      last = last < 0 ? -1 : last / s;
      last = last < out[a] - 1 ? last : out[a] - 1;
      sum += last >= first ? double(last - first + 1) : 0;
    }
    part *= sum / double(layer.kernel[a] * out[a]);
  }
  return part;
}

Sizes sizes(const Layer& layer) {
  Sizes s;
  auto known = [&](int axis, int64_t otherwise) { return layer.shape.dims[axis] > 0 ? layer.shape.dims[axis] : otherwise; };
  if (layer.kind == Kind::matrix) {
    s.height = s.width = 1;
    for (int i = 0; i + 1 < layer.shape.rank; i++) {
      int64_t n = known(i, i == 0 ? 1 : 128);
      s.width = n > kLimit / s.width ? kLimit : s.width * n;
    }
    return s;
  }
  s.batch = known(0, 1);
  s.height = layer.spatial == 2 ? known(2, int64_t(kGuess)) : 1;
  s.width = layer.spatial == 2 ? known(3, int64_t(kGuess)) : known(2, int64_t(kGuess * kGuess));
  return s;
}

bool choose(const Layer& layer, const Census& census, const Sizes& in, const Session& session, Choice* choice, Cost* cost,
            Tiling given) {
  if (layer.quantised.on) return choose_bytes(layer, census, in, session, choice, cost);
  const Kernels& k = *session.kernels;
  int64_t size[2] = {1, in.width}, before[2] = {};
  if (layer.kind == Kind::convolution && !output_size(layer, in.height, in.width, before, size)) return false;
  if (!size[0] || !size[1]) return false;
  if (layer.stride[0] > kPhases || layer.stride[0] * layer.stride[1] > kPhases || layer.taps() > 4096) return false;
  int64_t per_group = layer.outputs / layer.groups, rows = layer.rows();
  if (layer.groups > 4096 || rows > kLimit) return false;
  *choice = Choice();
  choice->lanes = k.lanes;
  const double pixels = double(size[0]) * double(size[1]) * double(in.batch), density = census.density();
  const bool chained = choice->chained = given.vectors > 0;
  const double vectors = chained ? given.all : at_least(pixels / k.lanes, 1);

  // How many outputs share zeros: what is stored against how well the kernel does.
  double entries[3] = {double(census.nonzeros), 2. * double(census.pairs), 4. * double(census.quads)};
  int best = 0;
  for (int i = 1; i < 3; i++) {
    if (entries[i] / kReach[i] < entries[best] / kReach[best]) best = i;
  }
  if (session.options.share) best = share_index(session.options.share);
  bool matrix = layer.kind == Kind::matrix;
  bool few = matrix && layer.shape.rank > 0 && in.width <= kTinyRows && rows <= 65535;
  for (int i = 0; i + 1 < layer.shape.rank && few; i++) few = layer.shape.dims[i] > 0;  // only where it is known
  choice->tiny = few;
  if (few) best = 0;
  choice->share = 1 << best;
  choice->together = best == 0 && !few ? k.together : 1;

  // Where more is written than read, the packed kernel is faster: it asks for the lines of y ahead.
  choice->direct = layer.pointwise() && !matrix && !chained && rows <= 65535 && (per_group <= 16 || (rows <= 200 && per_group < rows));
  choice->depthwise = !matrix && !chained && layer.inputs == 1 && layer.outputs == layer.groups && density > 0.5;
  for (int i = 0; i < layer.step_count; i++) choice->depthwise &= layer.steps[i].op != Op::add;
  choice->direct &= !choice->depthwise;
  int most = k.vectors[best];
  // Vectors of rows that a block has. A little more than the first cache holds does no harm, fewer visits to the sums help.
  int64_t budget = (session.cache < (64 << 10) ? session.cache * 6 / 5 : session.cache * 4 / 5) / (k.lanes * 4);
  if (session.cache > (32 << 10) && session.cache < (64 << 10)) budget = (38 << 10) / (k.lanes * 4);
  int t = most;
  if (k.lanes == 16 && best == 0) t = choice->direct ? (rows < 32 ? 6 : 4) : density < 0.07 ? 3 : 4;
  if (k.lanes == 16 && best > 0) t = best == 1 ? 4 : 3;
  if (!choice->direct && per_group * t * k.lanes * 4 > (400 << 10)) t = t > 3 ? 3 : t;
  while (t > 1 && (t - 1) * double(k.lanes) >= pixels / double(in.batch)) t--;
  if (chained) t = given.vectors;
  choice->vectors = t;
  int64_t block = budget / t, most_offsets = 131070 / (t * k.lanes);
  choice->block = int(block < 16 ? 16 : block > most_offsets ? most_offsets : block);
  // Enough units for all threads, and sums of a panel that stay in the second cache.
  double tiles = at_least(vectors / t, 1) * double(in.batch) * double(layer.groups);
  int64_t panels = 1;
  while (per_group / panels > 2048) panels++;
  while (tiles * double(panels) < 2 * session.threads && !chained && session.threads > 1 && per_group / (panels + 1) >= 16) panels++;
  choice->panels = int(panels);

  // Costs in nanoseconds: of multiply-adds, of packing, of sums that go to the second cache and back, of writing.
  const double rate = peak(&k), cycle = k.lanes / rate;  // a cycle is what one vector of multiply-adds takes
  const int64_t input[2] = {in.height, in.width};
  const double used = layer.kind == Kind::matrix ? 1 : inside(layer, input, before, size);
  const double macs = double(census.weights) * pixels * used;
  const double sums = double(census.ordered(choice->share) ? int64_t(census.order.size()) : layer.outputs) * vectors;
  double reach = kReach[best] * (choice->direct ? 0.65 : 1);
  double ours = entries[best] * (chained ? vectors * k.lanes : pixels) * (layer.cut(0) ? layer.cut(1) ? used : (1 + used) / 2 : 1) / rate / reach;
  double blocks = at_least(double(rows) / choice->block, 1);
  if (choice->depthwise) {
    double lines = double(layer.outputs * in.batch) * double(size[0]) * double((size[1] + k.lanes - 1) / k.lanes);
    ours = (lines * (double(layer.taps()) * 2 + 6) + double(layer.outputs * in.batch) * double(layer.taps()) * 6) * cycle;
  } else if (few) {
    ours = double(census.nonzeros) * cycle * 1.3 + double(layer.outputs) * 6 * cycle;
  } else if (choice->direct) {
    ours += sums * 8 * cycle;
  } else {
    ours += (chained ? 0 : double(census.live_rows) * vectors * 3 * cycle * double(panels)) + sums * (2 * blocks + 6) * cycle;
    if (layer.taps() > 1) ours += vectors * double(layer.taps()) * 8 * cycle;
  }
  double inputs = double(layer.groups * layer.inputs) * double(in.height) * double(in.width) * double(in.batch);
  if (layer.stride[0] * layer.stride[1] > 1) ours += inputs * cycle * 1.2;
  ours += 3000;  // a node's own overhead
  // ONNX Runtime takes the best instructions, whatever ours are limited to.
  double dense = macs / (peak(kernels(nullptr)) * (layer.groups > 1 && per_group < 8 ? 0.5 : matrix ? 0.9 : 1));
  if (few) dense = at_least(dense, double(census.weights) * 4 / 60);
  dense += 2000 + sums * 1 * cycle;
  cost->ours = ours * 1e-6;
  cost->dense = dense * 1e-6;
  cost->depthwise = choice->depthwise;
  cost->border = matrix ? 0 : (inputs + pixels * double(layer.outputs)) * 4 / 8 * 1e-6 / 2;
  return true;
}

}  // namespace secateur
