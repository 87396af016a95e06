// Which pieces are claimed: those that the cost model expects to be faster, borders to dense layers included.
#include "claims.h"

#include <stdio.h>
#include <string.h>

#include "choose.h"

namespace secateur {
using namespace ort;
namespace {

struct Candidate {
  Match match;
  Census census;
  Cost cost;
  bool claimed;
  bool chained = false, ours = false;  // chained: it goes on with the tiles of a piece before
  Candidate* behind = nullptr;         // what goes on with its tiles
};

void note(Session& session, const Reader& reader, const Node* node, const char* why) {
  Guard guard(session.lock);
  Record* r = session.record(reader.name(node));
  if (!r) return;
  snprintf(r->operation, sizeof r->operation, "%s", reader.operation(node));
  snprintf(r->note, sizeof r->note, "%s", why);
}

// Fills a candidate; false where the node is not ours, with the reason in `why` where there is one to give.
bool consider(const Reader& reader, const Session& session, const Node* node, Candidate* out, const char** why) {
  Array<float> copy;
  Choice choice;
  *why = nullptr;
  if (!match(reader, node, &out->match)) {
    *why = out->match.refusal;
    return false;
  }
  Layer layer = out->match.layer;
  *why = "no memory to look at the weights";
  if (!upright(&layer, &copy) || !count(layer, session.options.arrange, &out->census)) return false;
  *why = "a size that no kernel here serves";
  return choose(layer, out->census, sizes(layer), session, &choice, &out->cost);
}

bool same(const Reader& reader, const ValueInfo* a, const ValueInfo* b) {
  const char *x = nullptr, *y = nullptr;
  return a && b && reader.api.ok(reader.api.name(a, &x)) && reader.api.ok(reader.api.name(b, &y)) && x && y && !strcmp(x, y);
}

// What is behind a dequantisation of the value, where it is read by one: else its reader itself.
const Node* beyond(const Reader& reader, const Node* user) {
  const ValueInfo* out[kEnds] = {};
  const Node* next[kEnds] = {};
  bool through = reader.is(user, "DequantizeLinear") && reader.outputs(user, out) == 1 && reader.consumers(out[0], next) == 1;
  return through ? next[0] : user;
}

// Of the two sides of a piece, the share that touches convolutions of ONNX Runtime (`ours` false), or pieces of ours.
double sides(const Reader& reader, const Candidate& c, const Array<Candidate*>& all, bool ours) {
  const Node* users[kEnds] = {};
  double share = 0;
  int n = c.match.end ? reader.consumers(c.match.end, users) : 0;
  bool behind = false;
  for (int i = 0; i < n; i++) {
    users[i] = beyond(reader, users[i]);
    if (!reader.is(users[i], "Conv")) continue;
    bool is_ours = false;
    for (const Candidate* other : all) is_ours |= other->claimed && other->match.nodes[0] == users[i];
    behind |= is_ours == ours;
  }
  if (behind) share += 0.5;
  for (const Candidate* other : all) {
    if (other->match.layer.kind == Kind::convolution && other->claimed == ours && same(reader, other->match.end, c.match.x)) {
      share += 0.5;
      break;
    }
  }
  return share;
}

// Milliseconds that ONNX Runtime loses in a MaxPool of bytes behind the layer where channels come first: its kernel for that takes
// 4 ns a tap, that for channels last next to nothing.
double pooling(const Reader& reader, const Candidate& c) {
  const Node* users[kEnds] = {};
  int n = c.cost.bytes && c.match.end ? reader.consumers(c.match.end, users) : 0;
  double lost = 0;
  for (int i = 0; i < n; i++) {
    const Node* pool = beyond(reader, users[i]);
    const ValueInfo* out[kEnds] = {};
    Shape shape;
    int element = 0;
    int64_t kernel[2] = {1, 1};
    if (!reader.is(pool, "MaxPool") || reader.outputs(pool, out) < 1 || !reader.shape(out[0], &shape, &element)) continue;
    if (reader.integers(pool, "kernel_shape", kernel, 2) < 0) continue;
    double taps = double(kernel[0]) * double(kernel[1]);
    for (int k = 0; k < shape.rank; k++) taps *= shape.dims[k] > 0 ? double(shape.dims[k]) : k ? 28 : 1;
    lost += taps * 4e-6;
  }
  return lost;
}

// Milliseconds that claiming a piece costs its neighbours.
double neighbours(const Reader& reader, const Candidate& c, const Array<Candidate*>& all) {
  return sides(reader, c, all, false) * c.cost.border + pooling(reader, c);
}

// Does it pay? A depthwise layer does where it spares turning the layout between two of ours.
bool pays(const Reader& reader, const Candidate& c, const Array<Candidate*>& all) {
  if (c.cost.depthwise) return sides(reader, c, all, true) == 1 && c.cost.ours <= kMargin * (c.cost.dense + 2 * c.cost.border);
  return c.cost.ours + neighbours(reader, c, all) <= kMargin * c.cost.dense;
}

// Why a layer is left, and from which share of kept weights on it would not be.
void explain(const Reader& reader, const Session& session, const Candidate& c, const Array<Candidate*>& all, char* text, size_t size) {
  double border = neighbours(reader, c, all), taken = c.cost.ours + border;
  int n = c.census.density() > 0.5 ? snprintf(text, size, "dense weights: nothing to gain")
                                   : snprintf(text, size, "expected to be %s here (%.3f ms against %.3f ms dense)",
                                              taken < c.cost.dense ? "hardly faster" : "slower", taken, c.cost.dense);
  if (pooling(reader, c) > 0) n = snprintf(text, size, "a MaxPool of bytes behind it would be slower (%.3f ms)", pooling(reader, c));
  int one = worth(session, c.match.layer, border, 1), four = worth(session, c.match.layer, border, 4);
  if (n < 0 || size_t(n) >= size) return;
  if (four < 1) {
    snprintf(text + n, size - size_t(n), "; would not pay however few are kept");
  } else if (one < 1) {
    snprintf(text + n, size - size_t(n), "; would pay in 4x1 with %d %% of the weights kept", four);
  } else {
    snprintf(text + n, size - size_t(n), "; would pay with %d %% of the weights kept, in 4x1 with %d %%", one, four);
  }
}

// Joins to a piece those that go on with its tiles, as far as that is expected to be faster.
void join(const Reader& reader, const Session& session, Candidate* first, const Array<Candidate*>& all) {
  Link links[kChain];
  const Node* users[kEnds] = {};
  double gain = 0, more = 0;
  Candidate *last = first, *behind = first;
  for (int count = 0; behind && behind->claimed && !behind->chained && count < kChain; count++) {
    links[count] = {&behind->match.layer, &behind->census, {}, 0};
    if (count && (!choose_chain(links, count + 1, session, &more) || !(more > gain || session.options.chain == Chain::always))) return;
    if (count) last->behind = behind, behind->chained = true, gain = more;
    last = behind;
    Candidate* c = first;
    for (int i = 0; count && i <= count; i++, c = c->behind) c->cost.ours = links[i].cost;
    behind = nullptr;
    if (session.options.chain == Chain::never || !last->match.end || reader.consumers(last->match.end, users) != 1) return;
    for (Candidate* c : all) {
      if (c->match.nodes[0] == users[0] && same(reader, last->match.end, c->match.x)) behind = c;
    }
  }
}

// Hands a piece to ONNX Runtime, with all that is joined to it.
void hand_over(const Api& api, Support* support, Candidate* first) {
  const Node* nodes[kNodes * kChain];
  size_t n = 0;
  FusionOptions options;
  for (Candidate* c = first; c; c = c->behind) {
    for (int i = 0; i < c->match.node_count; i++) nodes[n++] = c->match.nodes[i];
  }
  bool ours = first->claimed && api.ok(api.fuse(support, nodes, n, &options));
  for (Candidate* c = first; c; c = c->behind) c->ours = ours;
}

}  // namespace

Status* claim(const Reader& given, Session& session, const Graph* graph, Support* support) {
  Reader reader = given;
  const Api& api = reader.api;
  size_t n = 0;
  Array<const Node*> nodes, taken;
  reader.taken = &taken;
  // Releases before 1.32 give pieces of two branches of an If one name, and fail.
  const Node* parent = nullptr;
  if (!api.ok(api.parent(graph, &parent)) || parent) return nullptr;
  Array<Candidate*> found;
  struct Sweep {
    Array<Candidate*>& list;
    ~Sweep() { for (Candidate* c : list) destroy(c); }
  } sweep{found};
  if (!api.ok(api.node_count(graph, &n)) || !nodes.resize(n) || (n && !api.ok(api.nodes(graph, nodes.data(), n)))) return nullptr;
  for (const Node* node : nodes) {
    const char* why = nullptr;
    Candidate* c = make<Candidate>();
    if (!c || !found.push(c)) {
      destroy(c);
      return nullptr;
    }
    if (!consider(reader, session, node, c, &why)) {
      if (why) note(session, reader, node, why);
      destroy(c);
      found.pop();
      continue;
    }
    c->claimed = true;
    if (!taken.append(c->match.nodes, size_t(c->match.node_count))) return nullptr;
  }
  // A piece that does not pay is left; then its neighbours pay for a border, and may not pay any more.
  for (bool changed = true; changed && !session.options.force;) {
    changed = false;
    for (Candidate* c : found) {
      if (!c->claimed || pays(reader, *c, found)) continue;
      c->claimed = false;
      changed = true;
    }
  }
  for (Candidate* c : found) join(reader, session, c, found);
  for (Candidate* c : found) {
    const Node* node = c->match.nodes[0];
    char text[160] = "";
    if (!c->chained) hand_over(api, support, c);
    bool ours = c->ours;
    if (!ours) {
      explain(reader, session, *c, found, text, sizeof text);
    }
    note(session, reader, node, text);
    Guard guard(session.lock);
    if (Record* r = session.record(reader.name(node))) {
      r->claimed = ours;
      r->density = c->census.density();
      r->expected = c->cost.ours;
      r->dense = c->cost.dense;
    }
  }
  return nullptr;
}

}  // namespace secateur
