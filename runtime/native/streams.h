// How one visit is written into the stream: which entries the outputs of a block have, as the kernels read them.
#pragma once
#include "packed.h"

namespace secateur {

struct Unit {  // of one block: its entries lie at `start`
  uint32_t unit, count;
  uint64_t start;
};

// What is needed to pack one panel; kept from panel to panel.
struct Work {
  Array<uint8_t> live;
  Array<uint32_t> block_of, local_of;
  Array<uint32_t> counts;  // [block][unit]
  Array<uint64_t> starts;  // [block][unit]
  Array<uint16_t> locals;
  Array<float> values;
  Array<Unit> units;
};

// Units first.. of a block, `together` of them, the longest with `longest` entries; places of sums are written already.
inline bool float_visit(const Work& work, const Choice& c, size_t first, size_t units, uint32_t longest, Array<uint8_t>* stream) {
  size_t share = size_t(c.share), together = size_t(c.together), entries = longest * together;
  size_t at = stream->size(), padded = (entries + 1) / 2 * 4;
  if (!stream->resize(at + padded + entries * share * 4)) return false;
  uint8_t* s = stream->data() + at;
  uint32_t scale = c.direct || c.tiny ? 1 : uint32_t(c.vectors * c.lanes / 2);  // offsets in 8 bytes
  for (size_t e = 0; e < entries; e++) {
    size_t u = first + e % together, n = e / together;
    if (u >= units || work.units[u].count == 0) continue;
    const uint32_t count = work.units[u].count;
    uint64_t from = work.units[u].start + (n < count ? n : count - 1);
    uint16_t offset = uint16_t(work.locals[from] * scale);
    memcpy(s + 2 * e, &offset, 2);
    // Past its end a unit has weights of zero on its last row: of no row that it does not read, whose infinity would count.
    if (n < count) memcpy(s + padded + e * share * 4, &work.values[from * share], share * 4);
  }
  return true;
}

// The same in bytes: `longest` is a multiple of four, and weights of four entries lie together for each output of the unit.
inline bool byte_visit(const Work& work, const Choice& c, size_t unit, uint32_t longest, Array<uint8_t>* stream) {
  size_t share = size_t(c.share), at = stream->size();
  if (!stream->resize(at + longest * (2 + share))) return false;
  uint8_t* s = stream->data() + at;
  const Unit& u = work.units[unit];
  for (size_t e = 0; e < u.count; e++) {
    uint16_t offset = uint16_t(work.locals[u.start + e] * (kByteRow / 8));
    memcpy(s + 2 * e, &offset, 2);
    for (size_t p = 0; p < share; p++)
      s[2 * longest + (e / 4 * share + p) * 4 + e % 4] = uint8_t(int8_t(work.values[(u.start + e) * share + p]));
  }
  return true;
}

}  // namespace secateur
