#pragma once
#include "session.h"

namespace secateur {

using Work = void (*)(void* data, size_t number);

// Threads to share work with: `run` calls work(data, i) for each i below `count`, here and on others, several at a time, and
// comes back when all are done; false where it failed.
struct Pool {
  bool (*run)(const Pool& pool, Work work, size_t count, void* data);
};

// One run of a planned job whose x, y and what is added are set; false where memory ran out or the pool failed.
bool compute(Session& session, const Pool& pool, Job& job);

}  // namespace secateur
