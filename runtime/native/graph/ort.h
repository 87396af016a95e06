// The part of ONNX Runtime's plugin interface that is used here, stated by slot numbers of its function tables.
// The tables only grow at their ends, so one binary serves every release from 1.24 on; tests hold it against several.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace ort {

// ONNX Runtime's own objects: only their addresses are ever used.
struct Status; struct Logger; struct Value; struct TypeInfo; struct TensorInfo; struct SessionOptions; struct Device;
struct EpDevice; struct KeyValues; struct Graph; struct Node; struct ValueInfo; struct Attribute; struct Context; struct Support;

constexpr uint32_t kVersion = 23;  // of the interface: onnxruntime 1.23 and later know it
enum Code { kFail = 1, kInvalidArgument = 2, kNotImplemented = 9 };
enum Element { kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6, kText = 8, kFloat16 = 10 };
enum AttributeKind { kInt = 1, kInts = 2, kFloatAttribute = 3, kString = 5 };
enum Level { kWarning = 2 };

struct ApiBase {
  void* const* (*get_api)(uint32_t version);
  const char* (*version)();
};

struct Factory;
struct Ep;
struct ComputeInfo;

// Filled by us; the first field is the version, so later slots are never called.
struct FusionOptions {
  uint32_t version = kVersion;
  bool drop_constant_initializers = true;
};
struct ComputeInfo {
  uint64_t version = kVersion;
  Status* (*create_state)(ComputeInfo*, void*, void** state) = nullptr;
  Status* (*compute)(ComputeInfo*, void* state, Context*) = nullptr;
  void (*release_state)(ComputeInfo*, void* state) = nullptr;
};
struct Ep {
  uint64_t version = kVersion;
  const char* (*name)(const Ep*) = nullptr;
  Status* (*get_capability)(Ep*, const Graph*, Support*) = nullptr;
  Status* (*compile)(Ep*, const Graph**, const Node**, size_t, ComputeInfo**, Node**) = nullptr;
  void (*release_compute_infos)(Ep*, ComputeInfo**, size_t) = nullptr;
  void* unused[8] = {};
};
struct Factory {
  uint64_t version = kVersion;
  const char* (*name)(const Factory*) = nullptr;
  const char* (*vendor)(const Factory*) = nullptr;
  Status* (*supported_devices)(Factory*, const Device* const*, size_t, EpDevice**, size_t, size_t*) = nullptr;
  Status* (*create_ep)(Factory*, const Device* const*, const KeyValues* const*, size_t, const SessionOptions*, const Logger*,
                       Ep**) = nullptr;
  void (*release_ep)(Factory*, Ep*) = nullptr;
  uint32_t (*vendor_id)(const Factory*) = nullptr;
  const char* (*ep_version)(const Factory*) = nullptr;
  void* unused = nullptr;
  Status* (*create_allocator)(Factory*, const void*, const KeyValues*, void**) = nullptr;
  void (*release_allocator)(Factory*, void*) = nullptr;
  Status* (*create_data_transfer)(Factory*, void**) = nullptr;  // must exist, or registration crashes
  bool (*is_stream_aware)(const Factory*) = nullptr;
  void* unused_too = nullptr;
};

// OrtApi: each function is one slot. Those that return Status* succeed with null.
class Api {
 public:
  explicit Api(void* const* slots = nullptr) : slots_(slots) {}
  explicit operator bool() const { return slots_ != nullptr; }

  Status* error(int code, const char* text) const { return at<Status*(int, const char*)>(0)(code, text); }
  // True where a call went well; a status that is an error is released.
  bool ok(Status* status) const {
    if (status) at<void(Status*)>(93)(status);
    return status == nullptr;
  }
  Status* data(Value* v, void** out) const { return at<Status*(Value*, void**)>(51)(v, out); }
  Status* data(const Value* v, const void** out) const { return at<Status*(const Value*, const void**)>(378)(v, out); }
  Status* tensor_info(const TypeInfo* t, const TensorInfo** out) const {
    return at<Status*(const TypeInfo*, const TensorInfo**)>(55)(t, out);
  }
  Status* element(const TensorInfo* t, int* out) const { return at<Status*(const TensorInfo*, int*)>(60)(t, out); }
  Status* rank(const TensorInfo* t, size_t* out) const { return at<Status*(const TensorInfo*, size_t*)>(61)(t, out); }
  Status* dims(const TensorInfo* t, int64_t* out, size_t n) const {
    return at<Status*(const TensorInfo*, int64_t*, size_t)>(62)(t, out, n);
  }
  Status* shape(const Value* v, TensorInfo** out) const { return at<Status*(const Value*, TensorInfo**)>(65)(v, out); }
  void release(TensorInfo* t) const { at<void(TensorInfo*)>(99)(t); }
  Status* input(const Context* c, size_t i, const Value** out) const {
    return at<Status*(const Context*, size_t, const Value**)>(90)(c, i, out);
  }
  Status* output(Context* c, size_t i, const int64_t* d, size_t n, Value** out) const {
    return at<Status*(Context*, size_t, const int64_t*, size_t, Value**)>(91)(c, i, d, n, out);
  }
  Status* has_entry(const SessionOptions* o, const char* key, int* out) const {
    return at<Status*(const SessionOptions*, const char*, int*)>(237)(o, key, out);
  }
  Status* entry(const SessionOptions* o, const char* key, char* out, size_t* n) const {
    return at<Status*(const SessionOptions*, const char*, char*, size_t*)>(238)(o, key, out, n);
  }
  Status* read(const Attribute* a, int kind, void* out, size_t n, size_t* used) const {
    return at<Status*(const Attribute*, int, void*, size_t, size_t*)>(272)(a, kind, out, n, used);
  }
  Status* parallel_for(const Context* c, void (*f)(void*, size_t), size_t total, size_t batches, void* data) const {
    return at<Status*(const Context*, void (*)(void*, size_t), size_t, size_t, void*)>(274)(c, f, total, batches, data);
  }
  Status* name(const ValueInfo* v, const char** out) const { return at<Status*(const ValueInfo*, const char**)>(289)(v, out); }
  Status* type(const ValueInfo* v, const TypeInfo** out) const {
    return at<Status*(const ValueInfo*, const TypeInfo**)>(290)(v, out);
  }
  int device_type(const Device* d) const { return at<int(const Device*)>(307)(d); }  // 0 is the processor
  void* const* ep_api() const { return at<void* const*()>(317)(); }
  Status* producer(const ValueInfo* v, const Node** node, size_t* at_output) const {
    return at<Status*(const ValueInfo*, const Node**, size_t*)>(323)(v, node, at_output);
  }
  Status* consumer_count(const ValueInfo* v, size_t* n) const { return at<Status*(const ValueInfo*, size_t*)>(324)(v, n); }
  Status* consumers(const ValueInfo* v, const Node** nodes, int64_t* at_input, size_t n) const {
    return at<Status*(const ValueInfo*, const Node**, int64_t*, size_t)>(325)(v, nodes, at_input, n);
  }
  Status* initializer(const ValueInfo* v, const Value** out) const {
    return at<Status*(const ValueInfo*, const Value**)>(326)(v, out);
  }
  Status* is_graph_output(const ValueInfo* v, bool* out) const { return at<Status*(const ValueInfo*, bool*)>(330)(v, out); }
  Status* is_constant(const ValueInfo* v, bool* out) const { return at<Status*(const ValueInfo*, bool*)>(331)(v, out); }
  Status* node_count(const Graph* g, size_t* n) const { return at<Status*(const Graph*, size_t*)>(344)(g, n); }
  Status* nodes(const Graph* g, const Node** out, size_t n) const {
    return at<Status*(const Graph*, const Node**, size_t)>(345)(g, out, n);
  }
  Status* parent(const Graph* g, const Node** out) const { return at<Status*(const Graph*, const Node**)>(346)(g, out); }
  Status* id(const Node* n, size_t* out) const { return at<Status*(const Node*, size_t*)>(348)(n, out); }
  Status* name(const Node* n, const char** out) const { return at<Status*(const Node*, const char**)>(349)(n, out); }
  Status* operation(const Node* n, const char** out) const { return at<Status*(const Node*, const char**)>(350)(n, out); }
  Status* domain(const Node* n, const char** out) const { return at<Status*(const Node*, const char**)>(351)(n, out); }
  Status* input_count(const Node* n, size_t* out) const { return at<Status*(const Node*, size_t*)>(353)(n, out); }
  Status* inputs(const Node* n, const ValueInfo** out, size_t k) const {
    return at<Status*(const Node*, const ValueInfo**, size_t)>(354)(n, out, k);
  }
  Status* output_count(const Node* n, size_t* out) const { return at<Status*(const Node*, size_t*)>(355)(n, out); }
  Status* outputs(const Node* n, const ValueInfo** out, size_t k) const {
    return at<Status*(const Node*, const ValueInfo**, size_t)>(356)(n, out, k);
  }
  Status* attribute(const Node* n, const char* key, const Attribute** out) const {
    return at<Status*(const Node*, const char*, const Attribute**)>(361)(n, key, out);
  }
  // OrtEpApi.
  Status* create_device(Factory* f, const Device* d, EpDevice** out) const {
    using F = Status* (*)(Factory*, const Device*, const KeyValues*, const KeyValues*, EpDevice**);
    return reinterpret_cast<F>(ep_api()[0])(f, d, nullptr, nullptr, out);
  }
  Status* fuse(Support* s, const Node* const* nodes, size_t n, const FusionOptions* o) const {
    using F = Status* (*)(Support*, const Node* const*, size_t, const FusionOptions*);
    return reinterpret_cast<F>(ep_api()[2])(s, nodes, n, o);
  }

 private:
  template <class F>
  F* at(size_t slot) const { return reinterpret_cast<F*>(slots_[slot]); }
  void* const* slots_;
};

}  // namespace ort
