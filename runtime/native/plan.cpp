// For a size of input: padding, planes, regions in which each tap is inside or outside as a whole, tiles.
#include "plan.h"

#include "tile_size.h"

namespace secateur {
namespace {

bool within(int64_t a, int64_t b, int64_t c, int64_t d, int64_t most) {
  int64_t n;
  return !__builtin_mul_overflow(a, b, &n) && !__builtin_mul_overflow(n, c, &n) && !__builtin_mul_overflow(n, d, &n) && n <= most;
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

// Ranges of an axis between places where a tap begins or ends to lie inside. Sorted; one range where there were too many.
int ranges(const Layer& layer, int axis, int64_t before, int64_t plane, int64_t size, int32_t* edges) {
  int n = 0;
  edges[n++] = 0;
  edges[n++] = int32_t(size);
  for (int64_t k = 0; layer.cut(axis) && k < layer.kernel[axis]; k++) {
    int64_t shift = floor_div(k * layer.dilation[axis] - before, layer.stride[axis]);
    const int64_t bounds[] = {-shift, plane - shift};
    for (int64_t at : bounds) {
      bool known = at <= 0 || at >= size;
      for (int i = 0; i < n; i++) known |= edges[i] == at;
      if (known) continue;
      if (n == kCuts + 1) {
        edges[1] = int32_t(size);
        return 1;
      }
      int i = n++;
      for (; edges[i - 1] > at; i--) edges[i] = edges[i - 1];
      edges[i] = int32_t(at);
    }
  }
  return n - 1;
}

}  // namespace

bool output_size(const Layer& layer, int64_t height, int64_t width, int64_t* before, int64_t* size) {
  const int64_t in[2] = {height, width};
  for (int i = 0; i < 2; i++) {
    int64_t reach = (layer.kernel[i] - 1) * layer.dilation[i] + 1, s = layer.stride[i], all = layer.before[i] + layer.after[i];
    if (in[i] < 0 || in[i] > kLimit) return false;
    before[i] = layer.before[i];
    if (layer.pad == Pad::same_upper || layer.pad == Pad::same_lower) {
      all = ((in[i] + s - 1) / s - 1) * s + reach - in[i];
      all = all > 0 ? all : 0;
      before[i] = layer.pad == Pad::same_upper ? all / 2 : all - all / 2;
    } else if (layer.pad == Pad::valid) {
      all = before[i] = 0;
    }
    size[i] = floor_div(in[i] + all - reach, s) + 1;  // 0 where there is no input
    if (size[i] < (in[i] > 0)) return false;
  }
  return true;
}

bool plan(const Layer& layer, const Packed& packed, int64_t batch, int64_t height, int64_t width, int threads, Job* job) {
  int64_t size[2] = {1, width}, lanes = packed.choice.lanes, most = packed.choice.vectors;
  job->layer = &layer;
  job->packed = &packed;
  job->before[0] = job->before[1] = 0;
  if (layer.kind == Kind::convolution && !output_size(layer, height, width, job->before, size)) return false;
  if (!batch || !height || !width || !size[0] || !size[1]) return false;
  job->batch = batch;
  job->in_height = height, job->in_width = width;
  job->height = size[0], job->width = size[1];
  job->plane_height = (height + layer.stride[0] - 1) / layer.stride[0];
  job->plane_width = (width + layer.stride[1] - 1) / layer.stride[1];
  job->plane = job->plane_height * job->plane_width;
  int64_t channels = layer.groups * layer.inputs;
  if (!within(height, width, 1, 1, kLimit) || !within(size[0], size[1], 1, 1, kLimit) ||
      !within(height * width, channels, batch, 4, INT64_MAX) || !within(size[0] * size[1], layer.outputs, batch, 4, INT64_MAX))
    return false;
  memset(job->phase_place, -1, sizeof job->phase_place);
  job->phases = 0;
  for (int64_t ky = 0; ky < layer.kernel[0]; ky++) {
    int64_t y = ky * layer.dilation[0] - job->before[0], down = floor_div(y, layer.stride[0]);
    for (int64_t kx = 0; kx < layer.kernel[1]; kx++) {
      int64_t x = kx * layer.dilation[1] - job->before[1], right = floor_div(x, layer.stride[1]);
      int8_t& place = job->phase_place[(y - down * layer.stride[0]) * layer.stride[1] + x - right * layer.stride[1]];
      if (place < 0) place = int8_t(job->phases++);
    }
  }
  if (packed.choice.direct && !packed.choice.bytes && job->plane < most * lanes) job->plane = (job->plane + lanes - 1) / lanes * lanes;
  job->image = channels * job->phases * job->plane;
  int32_t rows[kCuts + 2], columns[kCuts + 2];
  int row_ranges = ranges(layer, 0, job->before[0], job->plane_height, size[0], rows);
  int column_ranges = ranges(layer, 1, job->before[1], job->plane_width, size[1], columns);
  job->region_count = 0;
  job->tiles = 0;
  int64_t others = batch * int64_t(packed.panels.size()), wanted = others < threads ? (threads + others - 1) / (others ? others : 1) : 1;
  for (int i = 0; i < row_ranges; i++) {
    for (int k = 0; k < column_ranges; k++) {
      Region r{rows[i], rows[i + 1], columns[k], columns[k + 1], job->tiles, 0};
      int64_t vectors = (int64_t(r.bottom - r.top) * (r.right - r.left) + lanes - 1) / lanes;
      r.tiles = (vectors + most - 1) / most;
      if (r.tiles < wanted) r.tiles = wanted < vectors ? wanted : vectors;
      job->regions[job->region_count++] = r;
      job->tiles += r.tiles;
    }
  }
  job->units = job->tiles * others;
  return true;
}

void plan_behind(const Layer& layer, const Packed& packed, Job* before, Job* job) {
  *job = {};
  job->layer = &layer;
  job->packed = &packed;
  job->batch = before->batch;
  job->height = job->in_height = before->height, job->width = job->in_width = before->width;
  before->next = job;
}

size_t scratch_bytes(const Job& job) {
  const Layer& layer = *job.layer;
  const Packed& packed = *job.packed;
  if ((packed.choice.direct && !packed.choice.bytes) || packed.choice.tiny) return 0;
  if (packed.choice.bytes)
    return (size_t(packed.sums) * 4 + size_t(packed.choice.block) + 8) * kByteRow + size_t(layer.taps()) * (kByteViewBytes + kByteRow * kByteSegmentBytes);
  if (packed.choice.depthwise) return size_t(layer.taps()) * 24;
  size_t row = size_t(packed.choice.vectors * packed.choice.lanes);
  return (size_t(sum_rows(job)) + size_t(packed.choice.block) + 8) * row * 4 + size_t(layer.taps()) * (kViewBytes + row * kSegmentBytes);
}

int64_t source_numbers(const Job& job) {
  bool strided = job.layer->stride[0] > 1 || job.layer->stride[1] > 1;
  bool short_planes = job.plane != job.plane_height * job.plane_width;
  return strided || short_planes ? job.batch * job.image : 0;
}

void widen(const Job& job, int64_t channel, float* out) {
  int64_t n = job.in_height * job.in_width;
  memcpy(out + channel * job.plane, job.x + channel * n, size_t(n) * 4);
  memset(out + channel * job.plane + n, 0, size_t(job.plane - n) * 4);
}

}  // namespace secateur
