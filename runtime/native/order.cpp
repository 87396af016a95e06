// Counts of the places that outputs use, and an order in which those that share the places of their zeros form blocks, wherever
// they lie in the layer: channels that were taken out of the middle of blocks, or a shuffle, cost them nothing then.
#include "pack.h"

namespace secateur {
namespace {

constexpr int kMarks = 4;
constexpr double kClearly = 0.95;  // of the entries as outputs stand: an order has to store fewer

struct Key {
  uint64_t marks;
  uint32_t hash, output;
};

int compare(const void* a, const void* b) {
  const Key &x = *static_cast<const Key*>(a), &y = *static_cast<const Key*>(b);
  if (x.marks != y.marks) return x.marks < y.marks ? -1 : 1;
  if (x.hash != y.hash) return x.hash < y.hash ? -1 : 1;
  return x.output < y.output ? -1 : x.output > y.output;
}

// The places that each output of one group uses, a bit each.
struct Patterns {
  Array<uint64_t> words;
  Array<int64_t> counts;
  size_t width = 0, outputs = 0;

  bool read(const Layer& layer, int64_t group) {
    const int64_t rows = layer.rows(), step = layer.row_stride;
    outputs = size_t(layer.outputs / layer.groups), width = (size_t(rows) + 63) / 64;
    size_t all;
    if (!multiply(outputs, width, &all) || !words.resize(all) || !counts.resize(outputs)) return false;
    for (size_t o = 0; o < outputs; o++) {
      const float* w = layer.weights + (group * int64_t(outputs) + int64_t(o)) * layer.output_stride;
      counts[o] = 0;
      for (size_t i = 0; i < width; i++) {
        const int64_t from = int64_t(i) * 64, n = rows - from < 64 ? rows - from : 64;
        uint64_t bits = 0;
        for (int64_t k = 0; k < n; k++) bits |= uint64_t(w[(from + k) * step] != 0) << k;
        words[o * width + i] = bits;
        counts[o] += __builtin_popcountll(bits);
      }
    }
    return true;
  }

  // Places that any of `share` outputs beside each other uses, in `order` or, where that is empty, as they stand.
  int64_t places(const Array<uint32_t>& order, size_t share) const {
    const size_t n = order.empty() ? outputs : order.size();
    int64_t found = 0;
    for (size_t first = 0; first < n; first += share) {
      for (size_t i = 0; i < width; i++) {
        uint64_t any = 0;
        for (size_t o = first; o < first + share && o < n; o++) any |= words[(order.empty() ? o : order[o]) * width + i];
        found += __builtin_popcountll(any);
      }
    }
    return found;
  }

  bool alike(size_t a, size_t b) const {
    int64_t shared = 0, most = counts[a] > counts[b] ? counts[a] : counts[b];
    for (size_t i = 0; i < width; i++) shared += __builtin_popcountll(words[a * width + i] & words[b * width + i]);
    return shared > 0 && shared * 5 >= most * 4;
  }

  // Of an output, in each of kMarks classes that rows fall into by a hash, the used row with the least hash: outputs alike have most
  // marks in common, others few (Broder, On the resemblance and containment of documents, 1997). Returns a hash of the whole pattern.
  uint32_t mark(size_t output, uint32_t* marks) const {
    uint32_t whole = 0;
    for (int k = 0; k < kMarks; k++) marks[k] = UINT32_MAX;
    for (size_t i = 0; i < width; i++) {
      for (uint64_t bits = words[output * width + i]; bits; bits &= bits - 1) {
        uint32_t h = uint32_t(i * 64 + size_t(__builtin_ctzll(bits)) + 1) * 2654435761u;
        h = (h ^ h >> 15) * 2246822519u;
        h ^= h >> 13;
        uint32_t& least = marks[h % kMarks];
        least = h < least ? h : least;
        whole += h;
      }
    }
    return whole;
  }
};

class Arranger {
 public:
  explicit Arranger(const Patterns& patterns) : patterns_(patterns), outputs_(patterns.outputs) {}

  // Fours of outputs alike, then what is left of them. Where three are left and nothing else would fill a four, one stands twice: it
  // is computed and written twice, which costs less than a block of two patterns. False where memory ran out.
  bool arrange(Array<uint32_t>* order) {
    Array<uint32_t> threes, twos, ones;
    order->clear();
    if (!join()) return false;
    for (size_t from = 0, to; from < outputs_; from = to) {
      for (to = from; to < outputs_ && keys_[to].marks == keys_[from].marks; to++) {}
      const size_t left = (to - from) % 4, whole = to - left;
      Array<uint32_t>& rest = left == 3 ? threes : left == 2 ? twos : ones;
      for (size_t i = from; i < to; i++) {
        if (!(i < whole ? *order : rest).push(keys_[i].output)) return false;
      }
    }
    size_t one = 0;
    for (size_t i = 0; i < threes.size(); i += 3) {
      if (!order->append(&threes[i], 3) || !order->push(one < ones.size() ? ones[one++] : threes[i + 2])) return false;
    }
    return order->append(twos.data(), twos.size()) && order->append(ones.data() + one, ones.size() - one);
  }

 private:
  uint32_t root(uint32_t o) {
    while (roots_[o] != o) o = roots_[o] = roots_[roots_[o]];
    return o;
  }

  // Outputs alike get one root, the first of them: of those beside each other in the order of their marks, each kind of mark leading
  // once. Equal ones lie beside each other by their hash, however few marks they have.
  bool join() {
    Array<uint32_t> marks, hashes;
    if (!roots_.resize(outputs_) || !keys_.resize(outputs_) || !hashes.resize(outputs_) || !marks.resize(outputs_ * kMarks)) return false;
    for (size_t o = 0; o < outputs_; o++) roots_[o] = uint32_t(o), hashes[o] = patterns_.mark(o, &marks[o * kMarks]);
    for (size_t k = 0; k < kMarks; k++) {
      for (size_t o = 0; o < outputs_; o++)
        keys_[o] = {uint64_t(marks[o * kMarks + k]) << 32 | marks[o * kMarks + (k + 1) % kMarks], hashes[o], uint32_t(o)};
      qsort(keys_.data(), outputs_, sizeof(Key), compare);
      for (size_t i = 1; i < outputs_; i++) {
        const uint32_t a = keys_[i - 1].output, b = keys_[i].output, first = root(a), other = root(b);
        if (keys_[i - 1].marks != keys_[i].marks || first == other || !patterns_.alike(a, b)) continue;
        (first < other ? roots_[other] : roots_[first]) = first < other ? first : other;
      }
    }
    for (size_t o = 0; o < outputs_; o++) keys_[o] = {root(uint32_t(o)), 0, uint32_t(o)};
    qsort(keys_.data(), outputs_, sizeof(Key), compare);
    return true;
  }

  const Patterns& patterns_;
  const size_t outputs_;
  Array<uint32_t> roots_;
  Array<Key> keys_;  // behind `join`, those of one root beside each other
};

}  // namespace

// Blocks of outputs never reach over the border of a convolution's group. Of a matrix, four outputs that lie beside each other are
// written at once (finish_tokens), so they stay as they stand.
bool count(const Layer& layer, bool arrange, Census* out) {
  Patterns patterns;
  Array<uint32_t> order, stand;  // of a group; as they stand
  int64_t pairs = 0, quads = 0;
  const int64_t per_group = layer.outputs / layer.groups;
  out->weights = layer.outputs * layer.rows();
  for (int64_t g = 0; g < layer.groups; g++) {
    if (!patterns.read(layer, g)) return false;
    int64_t nonzeros = 0, twos = patterns.places(stand, 2), fours = patterns.places(stand, 4);
    for (int64_t n : patterns.counts) nonzeros += n;
    out->nonzeros += nonzeros, out->pairs += twos, out->quads += fours;
    out->live_rows += patterns.places(stand, size_t(per_group));
    order.clear();
    if (arrange && layer.kind == Kind::convolution && per_group > 2 && double(nonzeros) < kClearly * 4 * double(fours)) {
      if (!Arranger(patterns).arrange(&order)) return false;
      const int64_t twos_then = patterns.places(order, 2), fours_then = patterns.places(order, 4);
      if (fours_then < fours || twos_then < twos) {
        twos = twos_then, fours = fours_then;
      } else {
        order.clear();
      }
    }
    pairs += twos, quads += fours;
    for (int64_t o = 0, n = order.empty() ? per_group : int64_t(order.size()); o < n; o++) {
      if (!out->order.push(uint32_t(g * per_group + (order.empty() ? o : order[size_t(o)])))) return false;
    }
  }
  const auto clearly = [](int64_t then, int64_t now) { return double(then) < kClearly * double(now); };
  if (clearly(pairs, out->pairs)) out->pairs = pairs, out->fewer |= 2;
  if (clearly(quads, out->quads)) out->quads = quads, out->fewer |= 4;
  if (!out->fewer) out->order.clear();
  return true;
}

}  // namespace secateur
