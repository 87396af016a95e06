// What one session shares: options, buffers, and the record of what became of each layer.
#pragma once
#include "memory.h"
#include "packed.h"

namespace secateur {

enum class Chain { chosen, never, always };  // where they can be

struct Options {
  Chain chain = Chain::chosen;  // layers that go on with the tiles of the layer before
  bool force = false;   // claim whatever can be claimed (tests)
  bool arrange = true;  // outputs that share zeros are brought together where that pays
  int threads = 0;      // workers that share a layer; 0: as many as there are processors
  int share = 0;        // outputs that share zeros: 0 chooses, or 1, 2, 4 (benchmarks)
  char label[64] = {};  // by which the report is asked for
  char isa[16] = {};    // the instruction set to use at most
};

// One convolution or matrix of the graph.
struct Record {
  uint64_t key;  // of the whole name, which may be longer than what is kept
  char name[128], operation[16], note[160];
  bool claimed;
  double density, expected, dense;    // milliseconds on one thread, by the cost model
  int64_t calls, bytes;
  double best, total;                 // milliseconds
};

// Buffers that runs borrow; as many as there ever were in use at one time.
class Buffers {
 public:
  ~Buffers();
  void* borrow(size_t bytes);  // null where there is no memory
  void give_back(void* data);

 private:
  struct Buffer {
    void* data;
    size_t bytes;
    bool used;
  };
  Lock lock_;
  Array<Buffer> buffers_;
};

struct Session {
  Options options;
  const Kernels* kernels = nullptr;
  const ByteKernels* bytes = nullptr;  // of quantised layers
  bool int8 = false;  // ONNX Runtime computes layers of int8 inputs in bytes too
  int threads = 1;
  int64_t cache = 32 << 10, second_cache = 512 << 10;
  Buffers buffers;
  Lock lock;
  Array<Record> records;
  Session* next = nullptr;

  Record* record(const char* name);  // found or made; hold the lock; null where there is no memory
};

void enlist(Session* session);
void strike(Session* session);

}  // namespace secateur
