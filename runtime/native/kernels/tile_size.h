// Sizes of what kernels keep in scratch; tile.h asserts that they are what it has.
#pragma once
#include <stddef.h>
namespace secateur {
constexpr size_t kViewBytes = 32, kSegmentBytes = 8;
constexpr size_t kByteViewBytes = 24, kByteSegmentBytes = 24;
}
