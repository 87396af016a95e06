// Arrays of plain data without the C++ library: sizes are checked for overflow, failure is a false, never an exception.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_WIN32)
#include <malloc.h>
#endif

namespace secateur {

constexpr size_t kCacheLine = 64, kHugePage = size_t(2) << 20;

inline bool multiply(size_t a, size_t b, size_t* out) { return !__builtin_mul_overflow(a, b, out); }

// Aligned to a cache line, or to a huge page where one would be filled; null where there is no memory.
inline void* allocate(size_t bytes) {
  bool huge = bytes >= kHugePage;
  size_t alignment = huge ? kHugePage : kCacheLine, rounded;
  if (__builtin_add_overflow(bytes ? bytes : 1, alignment - 1, &rounded)) return nullptr;
  rounded = rounded / alignment * alignment;
  if (!huge) rounded = rounded < kCacheLine ? kCacheLine : rounded;
#if defined(_WIN32)
  return _aligned_malloc(rounded, alignment);
#else
  void* data = nullptr;
  if (posix_memalign(&data, alignment, rounded)) return nullptr;
#if defined(__linux__)
  if (huge) madvise(data, rounded, MADV_HUGEPAGE);
#endif
  return data;
#endif
}

inline void release(void* data) {
#if defined(_WIN32)
  _aligned_free(data);
#else
  free(data);
#endif
}

// A growing array of trivially copyable T. Elements that `resize` adds are zero bytes.
template <class T>
class Array {
 public:
  Array() = default;
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { release(data_); }

  [[nodiscard]] bool reserve(size_t count) {
    if (count <= capacity_) return true;
    size_t wanted = capacity_ > SIZE_MAX / 2 / sizeof(T) ? count : (capacity_ * 2 > count ? capacity_ * 2 : count), bytes;
    if (!multiply(wanted, sizeof(T), &bytes)) return false;
    T* moved = static_cast<T*>(allocate(bytes));
    if (!moved) return false;
    if (size_) memcpy(static_cast<void*>(moved), data_, size_ * sizeof(T));
    release(data_);
    data_ = moved;
    capacity_ = wanted;
    return true;
  }
  [[nodiscard]] bool resize(size_t count) {
    if (!reserve(count)) return false;
    if (count > size_) memset(static_cast<void*>(data_ + size_), 0, (count - size_) * sizeof(T));
    size_ = count;
    return true;
  }
  [[nodiscard]] bool push(const T& value) {
    T copy = value;  // may lie in this array
    if (!reserve(size_ + 1)) return false;
    data_[size_++] = copy;
    return true;
  }
  [[nodiscard]] bool append(const T* values, size_t count) {
    if (count > SIZE_MAX - size_ || !reserve(size_ + count)) return false;
    if (count) memcpy(static_cast<void*>(data_ + size_), values, count * sizeof(T));
    size_ += count;
    return true;
  }
  void pop() { size_--; }
  void clear() { size_ = 0; }
  void swap(Array& other) {
    T* data = data_; data_ = other.data_; other.data_ = data;
    size_t n = size_; size_ = other.size_; other.size_ = n;
    n = capacity_; capacity_ = other.capacity_; other.capacity_ = n;
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& back() { return data_[size_ - 1]; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

// Objects with a constructor: made and deleted by these two, so that no operator new is linked.
struct Here {};
}  // namespace secateur
inline void* operator new(size_t, void* place, secateur::Here) noexcept { return place; }
namespace secateur {
template <class T>
T* make() {
  void* place = allocate(sizeof(T));
  return place ? new (place, Here{}) T() : nullptr;
}
template <class T>
void destroy(T* object) {
  if (!object) return;
  object->~T();
  release(object);
}

// Held for a few instructions only (lists of buffers, of reports).
class Lock {
 public:
  void lock() { while (__atomic_test_and_set(&held_, __ATOMIC_ACQUIRE)) {} }
  void unlock() { __atomic_clear(&held_, __ATOMIC_RELEASE); }

 private:
  char held_ = 0;
};
struct Guard {
  explicit Guard(Lock& l) : lock(l) { lock.lock(); }
  ~Guard() { lock.unlock(); }
  Lock& lock;
};

}  // namespace secateur
