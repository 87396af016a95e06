// Which instructions the processor and the system offer. Asked by hand: what the compiler offers for it says no under zig.
#include <string.h>
#if defined(__linux__)
#include <unistd.h>
#endif

#include "packed.h"

namespace secateur {
#define DECLARE(isa) namespace isa { extern const Kernels table; extern const ByteKernels byte_table; }
DECLARE(portable)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
#elif defined(__aarch64__)
DECLARE(neon)
#endif

#if defined(__x86_64__)
static void cpuid(uint32_t leaf, uint32_t sub, uint32_t* r) {
  __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

// 0: neither; 2: AVX2 with FMA; 3: AVX-512 (F, DQ, BW, VL) too; 4: with VNNI.
static int level() {
  uint32_t r[4], low, high;
  cpuid(0, 0, r);
  if (r[0] < 7) return 0;
  cpuid(1, 0, r);
  const uint32_t kNeeded = 1u << 27 | 1u << 28 | 1u << 12;  // OSXSAVE, AVX, FMA
  if ((r[2] & kNeeded) != kNeeded) return 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  cpuid(7, 0, r);
  if ((low & 6) != 6 || !(r[1] & 1u << 5)) return 0;
  const uint32_t kWide = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
  if ((low & 0xe6) != 0xe6 || (r[1] & kWide) != kWide) return 2;
  return r[2] & 1u << 11 ? 4 : 3;
}

bool fast_bytes() {
  uint32_t r[4];
  int can = level();
  if (can < 2 || can == 4) return can == 4;
  cpuid(7, 0, r);
  if (r[0] < 1) return false;
  cpuid(7, 1, r);
  return r[0] & 1u << 4;  // AVX-VNNI
}
#else
bool fast_bytes() { return true; }  // of 64-bit ARM: a processor without is rare
#endif

const Kernels* kernels(const char* wanted) {
  const Kernels* known[4];
  int n = 0;
#if defined(__x86_64__)
  int can = level();
  if (can >= 3) known[n++] = &avx512::table;
  if (can >= 2) known[n++] = &avx2::table;
#elif defined(__aarch64__)
  known[n++] = &neon::table;
#endif
  known[n++] = &portable::table;
  for (int i = 0; i < n; i++) {
    if (!wanted || !*wanted || !strcmp(wanted, known[i]->name)) return known[i];
  }
  return nullptr;
}

const ByteKernels* byte_kernels(const char* wanted) {
  auto allowed = [&](const char* name) { return !wanted || !*wanted || !strcmp(wanted, name); };
#if defined(__x86_64__)
  int can = level();
  if (can >= 4 && allowed("avx512")) return &avx512::byte_table;
  if (can >= 2 && (allowed("avx2") || allowed("avx512"))) return &avx2::byte_table;
#elif defined(__aarch64__)
  if (allowed("neon")) return &neon::byte_table;
#endif
  return &portable::byte_table;
}

int64_t first_cache() {
  int64_t bytes = 0;
#if defined(__linux__) && defined(_SC_LEVEL1_DCACHE_SIZE)
  bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE);
#endif
#if defined(__APPLE__)
  bytes = 64 << 10;
#endif
  return bytes >= (16 << 10) && bytes <= (1 << 20) ? bytes : 32 << 10;
}

int64_t second_cache() {
  int64_t bytes = 0;
#if defined(__linux__) && defined(_SC_LEVEL2_CACHE_SIZE)
  bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
  return bytes >= (128 << 10) && bytes <= (16 << 20) ? bytes : 512 << 10;
}

}  // namespace secateur
