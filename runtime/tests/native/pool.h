// Threads that stand in for those of ONNX Runtime's session: the caller works too, others come late or not at all.
#pragma once
#include <pthread.h>

#include "share.h"

namespace secateur {

struct Threads : Pool {
  explicit Threads(int others) : Pool{run}, most(others) {}
  int most;  // threads beside the caller, whatever is asked for

 private:
  struct Call {
    Work work;
    void* data;
    size_t next, count;
  };
  static void* go(void* data) {
    Call& call = *static_cast<Call*>(data);
    for (size_t i; (i = __atomic_fetch_add(&call.next, 1, __ATOMIC_RELAXED)) < call.count;) call.work(call.data, i);
    return nullptr;
  }
  static bool run(const Pool& self, Work work, size_t count, void* data) {
    int most = static_cast<const Threads&>(self).most, started = 0;
    if (most < 0) return false;  // as where the session's fails
    Call call{work, data, 0, count};
    pthread_t others[8];
    while (started < most && started < 8 && !pthread_create(&others[started], nullptr, go, &call)) started++;
    go(&call);
    for (int i = 0; i < started; i++) pthread_join(others[i], nullptr);
    return true;
  }
};

}  // namespace secateur
