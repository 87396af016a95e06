// Whether 1x1 layers go on with the tiles of the layer before: nothing is written between them, nothing packed again.
#include "choose.h"
#include "plan.h"

namespace secateur {
namespace {

// Cycles of a vector that is neither written nor read again, besides those that `choose` counts for packing: of a tensor that the
// second cache holds, and of one that comes from further away (fitted by benchmarks/chains.py).
constexpr double kNear = 11, kFar = 20;
constexpr double kShort = 0.5;  // vectors that one tile more, all others shorter, takes the time of

}  // namespace

bool choose_chain(Link* links, int count, const Session& session, double* gain) {
  const Layer& first = *links[0].layer;
  Choice& choice = links[0].choice;
  Sizes in = sizes(first);
  Cost cost;
  if (!choose(first, *links[0].census, in, session, &choice, &cost)) return false;
  if (first.kind != Kind::convolution || first.groups > 1 || choice.direct || choice.depthwise || choice.bytes || choice.panels > 1) return false;
  Packed empty;
  Job job;
  empty.choice = choice;
  if (!empty.panels.resize(1) || !plan(first, empty, in.batch, in.height, in.width, session.threads, &job)) return false;
  // Regions leave vectors that are not full and tiles that are short, which a layer of one region has not.
  const double pixels = double(job.height) * double(job.width) / choice.lanes;
  double vectors = 0, more = double(job.tiles) - pixels / choice.vectors - 1;
  for (int i = 0; i < job.region_count; i++) {
    const Region& r = job.regions[i];
    vectors += double((int64_t(r.bottom - r.top) * (r.right - r.left) + choice.lanes - 1) / choice.lanes);
  }
  const Tiling tiling{choice.vectors, double(in.batch) * (vectors + (more > 0 ? kShort * more : 0))};
  const double cycle = choice.lanes / peak(session.kernels) * 1e-6;  // in ms
  links[0].cost = cost.ours;
  double alone = cost.ours, together = cost.ours;
  int64_t most = first.outputs;
  const Sizes out{in.batch, job.height, job.width};
  for (int i = 1; i < count; i++) {
    const Layer &layer = *links[i].layer, &before = *links[i - 1].layer;
    if (!layer.pointwise() || layer.kind != Kind::convolution || layer.groups > 1 || layer.quantised.on || layer.inputs != before.outputs) return false;
    for (int k = 0; k < before.step_count; k++) {
      if (before.steps[k].op == Op::add) return false;
    }
    if (!choose(layer, *links[i].census, out, session, &links[i].choice, &cost)) return false;
    alone += cost.ours;
    if (!choose(layer, *links[i].census, out, session, &links[i].choice, &cost, tiling)) return false;
    const Choice& c = links[i].choice;
    const Link& reads = links[i - 1];  // rows that are not in order are reached by offsets from the first
    if (reads.census->ordered(reads.choice.share) && reads.census->order.size() * size_t(c.vectors * c.lanes) > 131070) return false;
    if (session.kernels->vectors[c.share == 4 ? 2 : c.share == 2 ? 1 : 0] < choice.vectors || c.panels > 1) return false;
    links[i].cost = cost.ours;
    const double tensor = double(before.outputs) * pixels, bytes = tensor * choice.lanes * 4;
    together += cost.ours - tensor * double(in.batch) * (bytes > double(session.second_cache) ? kFar : kNear) * cycle;
    most = layer.outputs > most ? layer.outputs : most;
  }
  *gain = alone - together;
  return 2 * most * choice.vectors * choice.lanes * 4 <= session.second_cache * 5 / 8;
}

}  // namespace secateur
