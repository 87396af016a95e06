// The provider as ONNX Runtime sees it: a factory, one object a session, one a claimed piece. Nothing here throws.
#include <stdio.h>
#include <string.h>
#if defined(__linux__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "claims.h"
#include "compile.h"
#include "packed.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace secateur {
using namespace ort;
namespace {

constexpr char kName[] = "SecateurExecutionProvider", kPrefix[] = "ep.secateurexecutionprovider.";

struct OurFactory : Factory {
  Api api;
};
struct OurEp : Ep {
  Api api;
  Session session;
};

const char* name(const Factory*) { return kName; }
const char* name(const Ep*) { return kName; }

// Reads an entry of the session's options; false where there is none or where it is longer than `size`.
bool entry(const Api& api, const SessionOptions* options, const char* key, char* out, size_t size) {
  char full[96];
  int has = 0;
  size_t n = size;
  snprintf(full, sizeof full, "%s%s", kPrefix, key);
  out[0] = '\0';
  return api.ok(api.has_entry(options, full, &has)) && has && api.ok(api.entry(options, full, out, &n));
}

bool whole_number(const char* text, int most, int* out) {
  int n = 0;
  if (!*text) return false;
  for (; *text; text++) {
    if (*text < '0' || *text > '9' || (n = n * 10 + *text - '0') > most) return false;
  }
  *out = n;
  return true;
}

const char* read_options(const Api& api, const SessionOptions* options, Session* s) {
  char text[32];
  int force = 0;
  Options& o = s->options;
  if (entry(api, options, "force", text, sizeof text) && !whole_number(text, 1, &force)) return "secateur: `force` is 0 or 1";
  if (entry(api, options, "threads", text, sizeof text) && !whole_number(text, 1024, &o.threads))
    return "secateur: `threads` is a number from 0 to 1024";
  if (entry(api, options, "share", text, sizeof text) && (!whole_number(text, 4, &o.share) || o.share == 3))
    return "secateur: `share` is 0, 1, 2 or 4";
  int chain = 0, order = 0;
  if (entry(api, options, "chain", text, sizeof text) && !whole_number(text, 2, &chain)) return "secateur: `chain` is 0, 1 or 2";
  if (entry(api, options, "order", text, sizeof text) && !whole_number(text, 1, &order)) return "secateur: `order` is 0 or 1";
  o.chain = Chain(chain);
  o.arrange = order == 0;
  entry(api, options, "label", o.label, sizeof o.label);
  entry(api, options, "isa", o.isa, sizeof o.isa);
  o.force = force;
  s->kernels = kernels(o.isa);
#if defined(__aarch64__)
  s->int8 = true;
#endif
  int has = 0;
  size_t size = sizeof text;
  constexpr char kInt8[] = "session.qdqisint8allowed";
  if (api.ok(api.has_entry(options, kInt8, &has)) && has && api.ok(api.entry(options, kInt8, text, &size))) s->int8 = text[0] == '1';
  s->bytes = byte_kernels(o.isa);
  if (!s->kernels) return "secateur: `isa` names instructions that this processor has not: avx512, avx2, neon or portable";
  long processors = 1;
#if defined(_SC_NPROCESSORS_ONLN)
  processors = sysconf(_SC_NPROCESSORS_ONLN);
#endif
  s->threads = o.threads ? o.threads : processors < 1 ? 1 : processors > 1024 ? 1024 : int(processors);
  s->cache = first_cache();
  s->second_cache = second_cache();
  return nullptr;
}

Status* get_capability(Ep* self, const Graph* graph, Support* support) {
  OurEp* ep = static_cast<OurEp*>(self);
  return claim(Reader(ep->api), ep->session, graph, support);
}

Status* create_state(ComputeInfo*, void*, void** state) {
  *state = nullptr;
  return nullptr;
}
Status* compute(ComputeInfo* self, void*, Context* context) { return run(*static_cast<Piece*>(self), context); }
void release_state(ComputeInfo*, void*) {}

void release_compute_infos(Ep*, ComputeInfo** infos, size_t n) {
  for (size_t i = 0; i < n; i++) destroy(static_cast<Piece*>(infos[i]));
}

Status* compile(Ep* self, const Graph** graphs, const Node** fused, size_t n, ComputeInfo** infos, Node**) {
  OurEp* ep = static_cast<OurEp*>(self);
  for (size_t i = 0; i < n; i++) infos[i] = nullptr;
  for (size_t i = 0; i < n; i++) {
    Piece* piece = make<Piece>();
    if (!piece) return ep->api.error(kFail, "secateur: no memory");
    piece->api = ep->api;
    piece->session = &ep->session;
    piece->create_state = create_state;
    piece->compute = secateur::compute;
    piece->release_state = release_state;
    infos[i] = piece;
    if (Status* failed = compile_piece(graphs[i], fused[i], piece)) {
      release_compute_infos(self, infos, i + 1);
      for (size_t k = 0; k <= i; k++) infos[k] = nullptr;
      return failed;
    }
  }
  return nullptr;
}

Status* supported_devices(Factory* self, const Device* const* devices, size_t n, EpDevice** out, size_t most, size_t* count) {
  const Api& api = static_cast<OurFactory*>(self)->api;
  *count = 0;
  for (size_t i = 0; i < n && *count < most; i++) {
    if (api.device_type(devices[i]) != 0) continue;
    if (Status* failed = api.create_device(self, devices[i], &out[*count])) return failed;
    ++*count;
  }
  return nullptr;
}

Status* create_ep(Factory* self, const Device* const*, const KeyValues* const*, size_t, const SessionOptions* options, const Logger*, Ep** out) {
  const Api& api = static_cast<OurFactory*>(self)->api;
  *out = nullptr;
  OurEp* ep = make<OurEp>();
  if (!ep) return api.error(kFail, "secateur: no memory");
  ep->api = api;
  if (const char* wrong = read_options(api, options, &ep->session)) {
    destroy(ep);
    return api.error(kInvalidArgument, wrong);
  }
  ep->name = secateur::name;
  ep->get_capability = get_capability;
  ep->compile = compile;
  ep->release_compute_infos = release_compute_infos;
  enlist(&ep->session);
  *out = ep;
  return nullptr;
}

void release_ep(Factory*, Ep* self) {
  OurEp* ep = static_cast<OurEp*>(self);
  if (!ep) return;
  strike(&ep->session);
  destroy(ep);
}

}  // namespace
}  // namespace secateur

EXPORT ort::Status* CreateEpFactories(const char*, const ort::ApiBase* base, const ort::Logger*, ort::Factory** out, size_t most, size_t* count) {
  using namespace secateur;
  ort::Api api(base->get_api(ort::kVersion));
  *count = 0;
  if (!api) {  // too old to have the table that an error is made with
    ort::Api old(base->get_api(1));
    return old ? old.error(ort::kNotImplemented, "secateur-runtime needs onnxruntime 1.24.3 or later") : nullptr;
  }
  if (most < 1) return api.error(ort::kInvalidArgument, "secateur: no place for a factory");
  OurFactory* f = make<OurFactory>();
  if (!f) return api.error(ort::kFail, "secateur: no memory");
  f->api = api;
  f->name = secateur::name;
  f->vendor = [](const ort::Factory*) { return "secateur"; };
  f->supported_devices = supported_devices;
  f->create_ep = create_ep;
  f->release_ep = release_ep;
  f->vendor_id = [](const ort::Factory*) { return uint32_t(0); };
  f->ep_version = [](const ort::Factory*) { return "0.1.0"; };
  f->create_allocator = [](ort::Factory*, const void*, const ort::KeyValues*, void** made) { *made = nullptr; return static_cast<ort::Status*>(nullptr); };
  f->release_allocator = [](ort::Factory*, void*) {};
  f->create_data_transfer = [](ort::Factory*, void** made) { *made = nullptr; return static_cast<ort::Status*>(nullptr); };
  f->is_stream_aware = [](const ort::Factory*) { return false; };
  out[0] = f;
  *count = 1;
  return nullptr;
}

EXPORT ort::Status* ReleaseEpFactory(ort::Factory* factory) {
  secateur::destroy(static_cast<secateur::OurFactory*>(factory));
  return nullptr;
}
