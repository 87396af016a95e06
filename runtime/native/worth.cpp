// From which share of kept weights on a layer would be claimed.
#include <math.h>

#include "choose.h"

namespace secateur {
namespace {

// The counts of weights of which a share is kept at random, by each output for itself or by `together` of them at once.
void imagine(const Layer& layer, double kept, int together, Census* out) {
  Census& c = *out;
  double weights = double(layer.outputs * layer.rows()), none = 1 - kept;
  c.weights = layer.outputs * layer.rows();
  c.nonzeros = int64_t(weights * kept);
  c.pairs = int64_t(weights / 2 * (together > 1 ? kept : 1 - none * none));
  c.quads = int64_t(weights / 4 * (together > 1 ? kept : 1 - none * none * none * none));
  c.live_rows = int64_t(double(layer.groups * layer.rows()) * (1 - pow(1 - kept, double(layer.outputs / layer.groups) / together)));
}

}  // namespace

int worth(const Session& session, const Layer& layer, double border, int together) {
  int low = 0, high = 100;
  while (high - low > 1) {
    int middle = (low + high) / 2;
    Choice choice;
    Cost cost;
    Census census;
    imagine(layer, middle / 100., together, &census);
    bool pays = choose(layer, census, sizes(layer), session, &choice, &cost) && !cost.depthwise &&
                cost.ours + border <= kMargin * cost.dense;
    (pays ? low : high) = middle;
  }
  return low;
}

}  // namespace secateur
