// The most multiply-adds in single precision that one core does: prints 1e9 operations a second (a multiply-add is two).
#include <stdio.h>
#include <time.h>

typedef float vector __attribute__((vector_size(64)));
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)  // sums that stay in registers

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(int count, char** unused) {
  (void)unused;
  vector x, y, all = {0};
  for (int i = 0; i < 16; i++) x[i] = 1e-9f * count, y[i] = 1.0f - 1e-9f * count;
#define DECLARE(i) vector sum##i = x * i;
#define STEP(i) sum##i = sum##i * y + x;
#define ADD(i) all += sum##i;
  EACH(DECLARE)
  double best = 1e9;
  for (int trial = 0; trial < 40; trial++) {
    double start = now();
    for (int n = 0; n < 800000; n++) {
      EACH(STEP)
    }
    double taken = now() - start;
    best = taken < best ? taken : best;
  }
  EACH(ADD)
  printf("%.1f %g\n", 12 * 16 * 2 * 800000.0 / best / 1e9, all[0]);
  return 0;
}
