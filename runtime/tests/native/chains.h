// Chains of 1x1 layers, a tile at a time, against the same layers one by one: the same numbers.
#pragma once
#include <math.h>
#include <stdio.h>

#include "choose.h"
#include "plan.h"
#include "pool.h"

namespace secateur {

enum class Chained { right, wrong, not_one };

// Whether a chain of random layers gives what its layers give one by one; `next(n)` is a number below n.
static Chained check_chain(const Kernels& k, uint32_t (*next)(uint32_t)) {
  Session session;
  session.kernels = &k;
  session.options.share = next(2) ? 0 : 1 << next(3);
  session.cache = int64_t(1) << (11 + next(5));
  session.second_cache = 16 << 20;
  session.threads = 1 + next(4);
  auto number = [&] { return float(next(2001)) / 1000.f - 1.f; };
  const int count = 2 + next(kChain - 1);
  Layer layers[kChain];
  Array<float> weights[kChain], x, added, together, alone[2];
  Census census[kChain];
  Link links[kChain];
  Sizes in{1 + next(2), 1 + next(20), 1 + next(40)};
  for (int i = 0; i < count; i++) {
    Layer& l = layers[i];
    l.shape.rank = 4;
    l.inputs = i ? layers[i - 1].outputs : 1 + next(next(2) ? 40 : 250);
    l.outputs = 1 + next(70);
    for (int a = 0; a < 2 && i == 0; a++) {
      l.kernel[a] = 1 + next(3), l.stride[a] = 1 + next(2), l.dilation[a] = next(2) ? 1 : 1 + next(12);
      l.before[a] = next(12), l.after[a] = next(12);
    }
    if (next(3)) l.steps[l.step_count++] = {Op(next(9) + 1), -0.3f, 0.8f, -1};
    if (i == count - 1 && next(2)) l.steps[l.step_count++] = {Op::add, 0, 0, 0};
    double density = double(next(100)) / 100;
    if (!weights[i].resize(size_t(l.outputs * l.rows()))) return Chained::wrong;
    // Outputs share their zeros with ones that lie `apart` before them.
    const size_t apart = next(2) ? 1 + next(uint32_t(l.outputs)) : size_t(l.outputs), rows = size_t(l.rows());
    for (size_t at = 0; at < weights[i].size(); at++) {
      bool kept = at < apart * rows ? next(1000) < density * 1000 : weights[i][at - apart * rows] != 0;
      weights[i][at] = kept ? number() + 1e-3f : 0;
    }
    l.weights = weights[i].data(), l.output_stride = l.rows(), l.row_stride = 1;
    if (!secateur::count(l, true, &census[i])) return Chained::wrong;
    links[i] = {&l, &census[i], {}, 0};
  }
  layers[0].shape.dims[0] = in.batch, layers[0].shape.dims[1] = layers[0].inputs;
  layers[0].shape.dims[2] = in.height, layers[0].shape.dims[3] = in.width;
  double gain;
  if (!choose_chain(links, count, session, &gain)) return Chained::not_one;
  Packed packed[kChain];
  Job jobs[kChain] = {};
  for (int i = 0; i < count; i++) {
    if (!pack(layers[i], links[i].choice, census[i], i ? &packed[i - 1] : nullptr, &packed[i])) return Chained::wrong;
  }
  if (!plan(layers[0], packed[0], in.batch, in.height, in.width, session.threads, &jobs[0])) return Chained::not_one;
  for (int i = 1; i < count; i++) plan_behind(layers[i], packed[i], &jobs[i - 1], &jobs[i]);
  const int64_t pixels = jobs[0].height * jobs[0].width;
  if (!x.resize(size_t(in.batch * layers[0].inputs * in.height * in.width))) return Chained::wrong;
  if (!added.resize(size_t(in.batch * layers[count - 1].outputs * pixels)) || !together.resize(added.size())) return Chained::wrong;
  for (float& f : x) f = number();
  for (float& f : added) f = number();
  for (float& f : together) f = NAN;
  const Threads threads(int(next(4)));
  const Added all{added.data(), layers[count - 1].outputs * pixels, pixels, jobs[0].width, 1};
  jobs[0].x = x.data();
  jobs[count - 1].y = together.data(), jobs[count - 1].added = all;
  if (!compute(session, threads, jobs[0])) return Chained::wrong;
  const float* from = x.data();
  Sizes size = in;
  for (int i = 0; i < count; i++) {
    Choice choice;
    Cost cost;
    Packed own;
    Job job{};
    Array<float>& y = alone[i % 2];
    if (!choose(layers[i], census[i], size, session, &choice, &cost) || !pack(layers[i], choice, census[i], nullptr, &own)) return Chained::wrong;
    if (!plan(layers[i], own, size.batch, size.height, size.width, session.threads, &job)) return Chained::wrong;
    if (!y.resize(size_t(size.batch * layers[i].outputs * job.height * job.width))) return Chained::wrong;
    job.x = from, job.y = y.data();
    if (i == count - 1) job.added = all;
    if (!compute(session, threads, job)) return Chained::wrong;
    from = y.data();
    size.height = job.height, size.width = job.width;
  }
  for (size_t i = 0; i < together.size(); i++) {
    if (!(fabs(double(together[i] - from[i])) <= 1e-4 * (1 + fabs(double(from[i]))))) {
      printf("%s: a chain gives %g where its layers give %g\n", k.name, double(together[i]), double(from[i]));
      return Chained::wrong;
    }
  }
  return Chained::right;
}

}  // namespace secateur
