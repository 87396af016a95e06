// From a claimed piece of the graph to packed weights.
#include "compile.h"

#include <stdio.h>
#include <string.h>

#include "choose.h"

namespace secateur {
using namespace ort;
namespace {

// Where the fused node has this value among its inputs, -1 where it has not.
int place(const Reader& reader, const Node* fused, const ValueInfo* value) {
  const ValueInfo* inputs[kEnds] = {};
  const char *wanted = nullptr, *at = nullptr;
  int n = reader.inputs(fused, inputs);
  for (int i = 0; value && i < n && reader.api.ok(reader.api.name(value, &wanted)); i++) {
    if (inputs[i] && reader.api.ok(reader.api.name(inputs[i], &at)) && wanted && at && !strcmp(wanted, at)) return i;
  }
  return -1;
}

void describe(const Reader& reader, Session& session, const Match& found, const char* behind, Stage* stage) {
  const Choice& c = stage->packed.choice;
  const char* order = stage->packed.order.empty() ? "" : ", outputs brought together";
  const char* kernel = c.depthwise ? "depthwise, dense " : c.tiny ? "few rows " : c.direct ? "direct " : "packed ";
  Guard guard(session.lock);
  Record* r = session.record(reader.name(found.nodes[0]));
  if (!r) return;
  stage->record = size_t(r - session.records.data());
  if (c.bytes) {
    snprintf(r->note, sizeof r->note, "int8 %dx1 %s, %d pixels, %d fused%s", c.share, session.bytes->name, c.lanes, found.node_count - 1,
             order);
  } else {
    snprintf(r->note, sizeof r->note, "%s%dx1 %s, %d vectors of %d, %d fused%s%s", kernel, c.share, session.kernels->name, c.vectors,
             c.lanes, found.node_count - 1, order, behind);
  }
  r->bytes = stage->packed.bytes();
}

// The weights of one layer, void behind it.
bool pack_stage(const Link& link, const Packed* before, Stage* stage) {
  Layer& layer = stage->layer;
  bool fine = pack(layer, link.choice, *link.census, before, &stage->packed);
  layer.weights = layer.bias = layer.more_bias = nullptr;
  layer.quantised.weights = nullptr;
  layer.quantised.scales = nullptr;
  layer.quantised.bias = nullptr;
  return fine;
}

}  // namespace

Status* compile_piece(const Graph* graph, const Node* fused, Piece* piece) {
  Reader reader(piece->api);
  Session& session = *piece->session;
  const Node *nodes[kNodes * kChain], *users[kEnds];
  Match found[kChain];
  Census census[kChain];
  Link links[kChain];
  Array<float> copies[kChain];
  size_t n = 0, first = 0;
  auto error = [&](const char* text) { return piece->api.error(kFail, text); };
  if (!piece->api.ok(piece->api.node_count(graph, &n)) || n > kNodes * kChain || !piece->api.ok(piece->api.nodes(graph, nodes, n)))
    return error("secateur: a claimed piece that cannot be read");
  while (first < n && !match(reader, nodes[first], &found[0])) first++;
  int count = first < n, nodes_read = count ? found[0].node_count : 0;
  for (; count && count < kChain && size_t(nodes_read) < n; count++) {
    if (reader.consumers(found[count - 1].end, users) != 1 || !match(reader, users[0], &found[count])) break;
    nodes_read += found[count].node_count;
  }
  if (size_t(nodes_read) != n) return error("secateur: a claimed piece that is not what was claimed");
  piece->count = count;
  for (int i = 0; i < count; i++) {
    Layer& layer = piece->stages[i].layer = found[i].layer;
    int added = place(reader, fused, found[i].added);
    layer.x = i ? -1 : place(reader, fused, found[i].x);
    for (int k = 0; k < layer.step_count; k++) {
      if (layer.steps[k].op == Op::add) layer.steps[k].input = added;
    }
    if ((i == 0 && layer.x < 0) || (found[i].added && added < 0)) return error("secateur: an input of a claimed piece is missing");
    if (!upright(&layer, &copies[i]) || !secateur::count(layer, session.options.arrange, &census[i])) return error("secateur: no memory to pack weights");
    links[i] = {&layer, &census[i], {}, 0};
  }
  Cost cost;
  double gain;
  if (count > 1 ? !choose_chain(links, count, session, &gain) : !choose(*links[0].layer, census[0], sizes(*links[0].layer), session, &links[0].choice, &cost))
    return error("secateur: a claimed piece that no kernel serves");
  double all = 0;
  for (int i = 0; i < count; i++) all += links[i].cost;
  for (int i = 0; i < count; i++) {
    Stage& stage = piece->stages[i];
    if (count > 1) stage.part = links[i].cost / all;
    if (!pack_stage(links[i], i ? &piece->stages[i - 1].packed : nullptr, &stage)) return error("secateur: no memory to pack weights");
    describe(reader, session, found[i], i ? ", in the tiles of the layer before" : "", &stage);
  }
  return nullptr;
}

}  // namespace secateur
