#include "session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

namespace secateur {

Buffers::~Buffers() {
  for (Buffer& b : buffers_) release(b.data);
}

void* Buffers::borrow(size_t bytes) {
  Guard guard(lock_);
  Buffer *best = nullptr, *small = nullptr;
  for (Buffer& b : buffers_) {
    if (b.used) continue;
    if (b.bytes < bytes) {
      small = &b;
    } else if (!best || b.bytes < best->bytes) {
      best = &b;
    }
  }
  if (!best) {
    void* data = allocate(bytes);
    if (!data) return nullptr;
    if (small) {
      release(small->data);
      *small = {data, bytes, false};
    } else if (!buffers_.push({data, bytes, false})) {
      release(data);
      return nullptr;
    }
    best = small ? small : &buffers_.back();
  }
  best->used = true;
  return best->data;
}

void Buffers::give_back(void* data) {
  Guard guard(lock_);
  for (Buffer& b : buffers_) {
    if (b.data == data) b.used = false;
  }
}

Record* Session::record(const char* name) {
  uint64_t key = 14695981039346656037u;  // FNV-1a
  for (const char* c = name; *c; c++) key = (key ^ uint8_t(*c)) * 1099511628211u;
  for (Record& r : records) {
    if (r.key == key) return &r;
  }
  Record made{};
  made.key = key;
  snprintf(made.name, sizeof made.name, "%s", name);
  return records.push(made) ? &records.back() : nullptr;
}

static Lock list_lock;
static Session* list;

void enlist(Session* session) {
  Guard guard(list_lock);
  session->next = list;
  list = session;
}

void strike(Session* session) {
  Guard guard(list_lock);
  for (Session** s = &list; *s; s = &(*s)->next) {
    if (*s == session) {
      *s = session->next;
      return;
    }
  }
}

namespace {
// Text that is cut at the end of the buffer, and counted on.
struct Text {
  char* data;
  size_t size, used = 0;
  void put(char c) {
    if (used < size) data[used] = c;
    used++;
  }
  void plain(const char* s) {
    while (*s) put(*s++);
  }
  void quoted(const char* s) {
    put('"');
    for (; *s; s++) {
      char code[8];
      if (*s == '"' || *s == '\\') put('\\');
      if (static_cast<unsigned char>(*s) < 32) {
        snprintf(code, sizeof code, "\\u%04x", *s);
        plain(code);
      } else {
        put(*s);
      }
    }
    put('"');
  }
  void number(const char* key, double value) {
    char text[64];
    snprintf(text, sizeof text, ", \"%s\": %.9g", key, isfinite(value) ? value : 0.);
    plain(text);
  }
};
}  // namespace
}  // namespace secateur

// Writes the records of the session with this label as JSON, at most `size` bytes with the final zero; returns how many it
// needs, 0 where there is no such session.
extern "C" __attribute__((visibility("default"))) size_t secateur_report(const char* label, char* out, size_t size) {
  using namespace secateur;
  Guard guard(list_lock);
  for (Session* s = list; s; s = s->next) {
    if (strcmp(s->options.label, label)) continue;
    Guard inner(s->lock);
    Text text{out, size};
    text.plain("{\"isa\": ");
    text.quoted(s->kernels->name);
    text.number("threads", s->threads);
    text.plain(", \"layers\": [");
    for (size_t i = 0; i < s->records.size(); i++) {
      const Record& r = s->records[i];
      text.plain(i ? ",\n{\"name\": " : "\n{\"name\": ");
      text.quoted(r.name);
      text.plain(", \"operation\": ");
      text.quoted(r.operation);
      text.plain(", \"note\": ");
      text.quoted(r.note);
      text.plain(r.claimed ? ", \"claimed\": true" : ", \"claimed\": false");
      text.number("density", r.density);
      text.number("expected", r.expected);
      text.number("dense", r.dense);
      text.number("calls", double(r.calls));
      text.number("bytes", double(r.bytes));
      text.number("best", r.best);
      text.number("mean", r.calls ? r.total / double(r.calls) : 0);
      text.put('}');
    }
    text.plain("]}");
    text.put('\0');
    if (size) out[size - 1] = '\0';
    return text.used;
  }
  return 0;
}

// Can this processor run the instruction set of this name?
extern "C" __attribute__((visibility("default"))) int secateur_has(const char* isa) { return secateur::kernels(isa) != nullptr; }
