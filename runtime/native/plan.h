#pragma once
#include "packed.h"

namespace secateur {

// Sizes of the output of a layer for an input; false where there is none or where a size is out of bounds.
bool output_size(const Layer& layer, int64_t height, int64_t width, int64_t* before, int64_t* size);
// Fills the sizes, regions and tiles of a job for an input of this size. False as above.
bool plan(const Layer& layer, const Packed& packed, int64_t batch, int64_t height, int64_t width, int threads, Job* job);
// The job of a 1x1 layer that takes over the tiles of `before`, a planned one.
void plan_behind(const Layer& layer, const Packed& packed, Job* before, Job* job);
// Bytes of scratch that one thread needs, and numbers of planes that have to be made before (0: x itself).
size_t scratch_bytes(const Job& job);
int64_t source_numbers(const Job& job);
// Copies planes of a channel that are shorter than a tile, for a direct layer.
void widen(const Job& job, int64_t channel, float* out);

}  // namespace secateur
