// The machine that runs kernels on the host: a fiber for each thread of a block, blocks one after another. Threads of a warp run until each waits or ends;
// a warp runs ahead of the others as far as its barriers allow, so that a missing barrier shows. State belongs to the calling thread of the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

struct uint3 {
  unsigned x, y, z;
};

namespace host {

constexpr int WARP = 32;
constexpr std::size_t SHARED_LIMIT = 48 << 10;

// What one lane shows to the others of its warp.
struct alignas(16) Slot {
  unsigned char bytes[16];
};

// A place in a kernel's source where threads meet.
struct Place {
  const char* what;
  const char* file;
  int line;
};

struct Warp {
  Slot slots[2][WARP]; // the lanes write in turn to one while the other may still be read
  unsigned present = 0; // the lanes that took part in the last exchange
  // The lanes that can run, and those that wait for others of the warp: at what place, and for whom.
  unsigned ready = 0, waiting = 0, mask = 0;
  const Place* place = nullptr;
};

// A copy to shared memory that is under way: done as late as may be, when the thread waits for it.
struct Copy {
  void* to;
  const void* from; // 0: zeros
  std::size_t bytes;
};

// A thread of the kernel, as the kernel sees it.
struct Thread {
  uint3 index;
  int lane;
  int parity;
  Warp* warp;
  std::vector<Copy> copies;
};

extern thread_local __attribute__((tls_model("initial-exec"))) Thread* current;
extern thread_local __attribute__((tls_model("initial-exec"))) uint3 block_index, block_size, grid_size;

void wait_for_block(const Place& place);
void wait_for_warp(unsigned mask, const Place& place);
[[noreturn]] void fault(const char* what, const Place& place);
// The block's array that belongs to `key`: of exactly `bytes`, filled with NaN when the block first asks for it.
void* shared_array(const void* key, std::size_t bytes, const Place& place);

// The values that all lanes of the warp gave; valid until this lane's next exchange. Every lane that `mask` names must take part.
template <class T>
const Slot* gather_lanes(const T& value, unsigned mask, const Place& place) {
  static_assert(sizeof(T) <= sizeof(Slot), "a lane shows at most 16 bytes");
  Thread* const self = current;
  Slot* const slots = self->warp->slots[self->parity];
  self->parity ^= 1;
  std::memcpy(slots[self->lane].bytes, &value, sizeof value);
  wait_for_warp(mask, place);
  return slots;
}

template <class T>
T exchange(unsigned mask, T value, int source, const Place& place) {
  const Slot* const slots = gather_lanes(value, mask, place);
  if (source < 0 || source >= WARP || !(current->warp->present >> source & 1)) fault("reads a lane that does not take part", place);
  T result;
  std::memcpy(&result, slots[source].bytes, sizeof result);
  return result;
}

// A kernel that a source file offers.
struct Registration {
  using Body = void (*)(const void* arguments);
  Registration(const char* name, std::size_t argument_bytes, unsigned most_threads, Body body);
  const char* name;
  std::size_t argument_bytes;
  unsigned most_threads;
  Body body;
};

} // namespace host
