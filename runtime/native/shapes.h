// Shapes that are broadcast.
#pragma once
#include <string.h>

#include "layer.h"

namespace secateur {

// Strides of `from` over the output's dims, 0 where it is broadcast; false where it does not fit.
inline bool strides(const Shape& from, const Shape& to, int64_t* out) {
  int64_t step = 1;
  for (int i = to.rank - 1, k = from.rank - 1; i >= 0; i--, k--) {
    int64_t n = k >= 0 ? from.dims[k] : 1;
    if (n != 1 && n != to.dims[i]) return false;
    out[i] = n == 1 ? 0 : step;
    step *= n;
  }
  return from.rank <= to.rank;
}

// The shape that both are broadcast to; false where there is none.
inline bool joined(const Shape& a, const Shape& b, Shape* out) {
  out->rank = a.rank > b.rank ? a.rank : b.rank;
  for (int i = 1; i <= out->rank; i++) {
    int64_t x = i <= a.rank ? a.dims[a.rank - i] : 1, y = i <= b.rank ? b.dims[b.rank - i] : 1;
    if (x != y && x != 1 && y != 1) return false;
    out->dims[out->rank - i] = x == 1 ? y : x;
  }
  return true;
}

inline bool same(const Shape& a, const Shape& b) { return a.rank == b.rank && !memcmp(a.dims, b.dims, sizeof(int64_t) * size_t(a.rank)); }

inline int64_t volume(const Shape& s) {
  int64_t n = 1;
  for (int i = 0; i < s.rank; i++) {
    if (__builtin_mul_overflow(n, s.dims[i], &n)) return -1;
  }
  return n;
}

}  // namespace secateur
