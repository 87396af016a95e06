// The cost model of quantised layers, fitted by benchmarks/layers.py --int8 and the harness; see choose.cpp.
#include "choose.h"
#include "plan.h"

namespace secateur {
namespace {

double at_least(double a, double b) { return a > b ? a : b; }

double peak(const ByteKernels* kernels) {
  static double measured[4];  // a process may have sessions of several instruction sets
  double rate, *kept = measured + (kernels->name[0] & 3);
  __atomic_load(kept, &rate, __ATOMIC_RELAXED);
  if (rate == 0) {
    rate = kernels->rate();
    __atomic_store(kept, &rate, __ATOMIC_RELAXED);
  }
  return rate;
}

}  // namespace

bool choose_bytes(const Layer& layer, const Census& census, const Sizes& in, const Session& session, Choice* choice, Cost* cost) {
  const ByteKernels& k = *session.bytes;
  int64_t size[2] = {1, in.width}, before[2] = {};
  bool matrix = layer.kind == Kind::matrix;
  if (!matrix && !output_size(layer, in.height, in.width, before, size)) return false;
  if (!size[0] || !size[1]) return false;
  if (layer.stride[0] > kPhases || layer.stride[0] * layer.stride[1] > kPhases || layer.taps() > 4096) return false;
  int64_t per_group = layer.outputs / layer.groups, rows = layer.rows();
  if (layer.groups > 4096 || rows > kLimit) return false;
  *choice = Choice();
  choice->bytes = true;
  choice->lanes = kByteRow;
  choice->vectors = 1;
  double entries[3] = {double(census.nonzeros), 2. * double(census.pairs), 4. * double(census.quads)};
  int best = 0;
  for (int i = 1; i < 3; i++) {
    if (entries[i] / k.reach[i] < entries[best] / k.reach[best]) best = i;
  }
  if (session.options.share) best = session.options.share == 4 ? 2 : session.options.share == 2 ? 1 : 0;
  choice->share = 1 << best;
  int64_t block = session.cache * 6 / 5 / kByteRow;
  choice->block = int(block < 64 ? 64 : block > 1000 ? 1000 : block);
  choice->direct = !matrix && rows <= choice->block && !layer.cut(0) && !layer.cut(1);
  const double pixels = double(size[0]) * double(size[1]) * double(in.batch);
  // A tile is computed as a whole, however few of its pixels there are.
  double tiles = at_least(double(size[0]) * double(size[1]) / kByteRow, 1);
  tiles = (tiles == double(int64_t(tiles)) ? tiles : double(int64_t(tiles) + 1)) * double(in.batch);
  int64_t panels = 1;
  while (per_group / panels > 2048) panels++;
  while (tiles * double(layer.groups * panels) < 2 * session.threads && session.threads > 1 && per_group / (panels + 1) >= 16) panels++;
  choice->panels = int(panels);

  // In nanoseconds: of multiply-adds, of packing, of sums that leave the registers, of writing.
  const double rate = peak(&k), floats = secateur::peak(kernels(nullptr)), cycle = kByteRow / rate;
  const int64_t input[2] = {in.height, in.width};
  const double used = matrix ? 1 : inside(layer, input, before, size);
  double computed = layer.cut(0) ? layer.cut(1) ? used : (1 + used) / 2 : 1;
  double blocks = at_least(double(rows) / choice->block, 1);
  double ours = entries[best] * tiles * kByteRow * computed / rate / k.reach[best];
  ours += double(census.live_rows) * tiles * (matrix ? 8 : 3) * cycle * double(panels);
  ours += double(layer.outputs) * tiles * ((choice->direct ? 0 : 12 * blocks) + (layer.quantised.out == Type::float32 ? 66 : 34)) * cycle;
  if (layer.cut(1)) ours *= 1.2;  // tiles of small regions are not full
  if (layer.taps() > 1) ours += tiles * double(layer.groups * panels) * double(layer.taps()) * 90 * cycle;
  double inputs = double(layer.groups * layer.inputs) * double(in.height) * double(in.width) * double(in.batch);
  if (layer.stride[0] * layer.stride[1] > 1) ours += inputs * cycle / 2;
  cost->ours = (ours + 3000) * 1e-6;
  // ONNX Runtime has no such convolution whose output stays float, or is of another type than its input, and takes int8 inputs where
  // it is told to: it computes in float32 then.
  const Quantised& q = layer.quantised;
  bool bytes = matrix || (q.in == q.out && (q.in == Type::uint8 || session.int8));
  cost->bytes = bytes && !matrix;
  double theirs = !bytes ? floats : fast_bytes() ? at_least(rate, 3.5 * floats) : 1.3 * floats;
  double macs = double(census.weights) * pixels;
  cost->dense = (macs / (theirs * (layer.groups > 1 && per_group < 8 ? 0.2 : 0.9)) + 3000) * 1e-6;
  cost->border = matrix ? 0 : (inputs + pixels * double(layer.outputs)) * 0.1e-6;
  return true;
}

}  // namespace secateur
