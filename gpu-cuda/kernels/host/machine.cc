#include "machine.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <sys/mman.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define HOST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOST_ASAN 1
#endif
#endif
#ifdef HOST_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace host {

thread_local __attribute__((tls_model("initial-exec"))) Thread* current;
thread_local __attribute__((tls_model("initial-exec"))) uint3 block_index, block_size, grid_size;

namespace {

// No power of two: the tops of all stacks would share a few lines of the cache.
#ifdef HOST_ASAN
constexpr std::size_t STACK = (256 << 10) + 7 * 64;
#else
constexpr std::size_t STACK = (64 << 10) + 7 * 64;
#endif
constexpr unsigned MOST_THREADS = 1024;

// Where a fiber, or the scheduler, goes on.
struct Context {
#ifdef __x86_64__
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  void* fake_stack = nullptr; // AddressSanitizer's
};

struct Fiber {
  Context context;
  Thread thread;
};

#ifdef __x86_64__
// Saves the registers that a call preserves, and the stack pointer, and takes up the other's.
extern "C" void mfm_host_switch(void** save, void* load);
__asm__(R"(
.text
.type mfm_host_switch,@function
.globl mfm_host_switch
.hidden mfm_host_switch
mfm_host_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size mfm_host_switch, .-mfm_host_switch
)");
#endif

class Machine {
 public:
  std::string error;

  // Runs every block; false at a fault.
  bool run(const Registration& kernel, const void* arguments, int schedule) {
    kernel_ = &kernel;
    arguments_ = arguments;
    schedule_ = schedule;
    random_.seed(static_cast<unsigned>(schedule));
    prepare();
    const std::uint64_t blocks = std::uint64_t(grid_size.x) * grid_size.y * grid_size.z;
    faulty_ = false;
    // No block may lean on an earlier one.
    std::vector<std::uint64_t> order(blocks);
    for (std::uint64_t i = 0; i < blocks; ++i) order[i] = schedule_ == 1 ? blocks - 1 - i : i;
    if (schedule_ > 1) std::shuffle(order.begin(), order.end(), random_);
    for (std::uint64_t i : order) {
      block_index = {unsigned(i % grid_size.x), unsigned(i / grid_size.x % grid_size.y), unsigned(i / grid_size.x / grid_size.y)};
      run_block();
      shared_.clear();
      shared_bytes_ = 0;
      if (faulty_) return false;
    }
    return true;
  }

  void wait_for_warp(unsigned mask, const Place& place) {
    Warp& warp = *running_->thread.warp;
    if (warp.waiting == 0) {
      warp.mask = mask;
      warp.place = &place;
    } else if (mask != warp.mask || !same(place, *warp.place)) {
      fail("is reached by some lanes while others wait elsewhere", place);
    }
    warp.waiting |= 1u << running_->thread.lane;
    leave(false);
  }

  void wait_for_block(const Place& place) {
    if (at_block_ == 0) {
      block_place_ = &place;
      stopped_ = running_;
    } else if (!same(place, *block_place_)) {
      fail("is reached by some threads while others wait elsewhere", place);
    }
    ++at_block_;
    leave(false);
  }

  // Reports a fault and never comes back: the block is abandoned.
  [[noreturn]] void fail(const char* what, const Place& place) {
    report(what, place, running_);
    leave(false);
    std::abort();
  }

  void* array(const void* key, std::size_t bytes, const Place& place) {
    for (const Array& array : shared_) {
      if (array.key == key) return array.data.get();
    }
    shared_bytes_ += (bytes + 15) / 16 * 16;
    if (shared_bytes_ > SHARED_LIMIT) fail("asks for more than 48 KB in all", place);
    void* const data = std::aligned_alloc(16, (bytes + 15) / 16 * 16);
    std::memset(data, 0xff, bytes);
#ifdef HOST_ASAN
    __asan_poison_memory_region(static_cast<char*>(data) + bytes, (bytes + 15) / 16 * 16 - bytes);
#endif
    shared_.push_back({key, std::unique_ptr<void, decltype(&std::free)>(data, &std::free)});
    return data;
  }

 private:
  struct Array {
    const void* key;
    std::unique_ptr<void, decltype(&std::free)> data;
  };
  struct Unmap {
    std::size_t bytes;
    void operator()(char* stacks) const { munmap(stacks, bytes); }
  };

  void prepare() {
    count_ = block_size.x * block_size.y * block_size.z;
    if (!stacks_) {
      const std::size_t bytes = STACK * MOST_THREADS;
      void* const stacks = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (stacks == MAP_FAILED) std::abort();
      stacks_ = std::unique_ptr<char, Unmap>(static_cast<char*>(stacks), Unmap{bytes});
      fibers_.resize(MOST_THREADS);
      warps_.resize(MOST_THREADS / WARP);
    }
  }

  char* stack(const Fiber& fiber) { return stacks_.get() + STACK * std::size_t(&fiber - fibers_.data()); }

  static void enter_fiber();
  void body() {
    arrive(running_->context);
    kernel_->body(arguments_);
    leave(true);
    std::abort();
  }

  void start(Fiber& fiber, unsigned i) {
    fiber.thread = {{i % block_size.x, i / block_size.x % block_size.y, i / (block_size.x * block_size.y)}, int(i % WARP), 0, &warps_[i / WARP], {}};
    fiber.context.fake_stack = nullptr;
    char* const low = stack(fiber);
#ifdef HOST_ASAN
    __asan_unpoison_memory_region(low, STACK);
#endif
#ifdef __x86_64__
    // The switch pops six registers and returns into `enter_fiber` as if called.
    void** top = reinterpret_cast<void**>(low + STACK) - 1;
    *top = nullptr;
    *--top = reinterpret_cast<void*>(&enter_fiber);
    for (int k = 0; k < 6; ++k) *--top = nullptr;
    fiber.context.stack_pointer = top;
#else
    getcontext(&fiber.context.context);
    fiber.context.context.uc_stack.ss_sp = low;
    fiber.context.context.uc_stack.ss_size = STACK;
    fiber.context.context.uc_link = nullptr;
    makecontext(&fiber.context.context, &enter_fiber, 0);
#endif
  }

  static void jump(Context& from, Context& to) {
#ifdef __x86_64__
    mfm_host_switch(&from.stack_pointer, to.stack_pointer);
#else
    swapcontext(&from.context, &to.context);
#endif
  }

  void arrive([[maybe_unused]] Context& self) {
#ifdef HOST_ASAN
    const bool tells = comes_from_scheduler_;
    __sanitizer_finish_switch_fiber(self.fake_stack, tells ? &scheduler_stack_ : nullptr, tells ? &scheduler_bytes_ : nullptr);
#endif
  }

  // From the scheduler to a fiber, and back when no lane of its warp can run.
  void enter(Fiber& fiber) {
    running_ = &fiber;
    current = &fiber.thread;
    comes_from_scheduler_ = true;
#ifdef HOST_ASAN
    __sanitizer_start_switch_fiber(&scheduler_.fake_stack, stack(fiber), STACK);
#endif
    jump(scheduler_, fiber.context);
#ifdef HOST_ASAN
    __sanitizer_finish_switch_fiber(scheduler_.fake_stack, nullptr, nullptr);
#endif
  }

  // From the running fiber to the next lane, or to the scheduler after the last.
  void leave([[maybe_unused]] bool for_good) {
    Fiber& fiber = *running_;
    Fiber* const next = faulty_ ? nullptr : next_lane();
#ifdef HOST_ASAN
    void** const kept = for_good ? nullptr : &fiber.context.fake_stack;
    if (next != nullptr) {
      __sanitizer_start_switch_fiber(kept, stack(*next), STACK);
    } else {
      __sanitizer_start_switch_fiber(kept, scheduler_stack_, scheduler_bytes_);
    }
#endif
    if (next != nullptr) {
      running_ = next;
      current = &next->thread;
      comes_from_scheduler_ = false;
      jump(fiber.context, next->context);
    } else {
      jump(fiber.context, scheduler_);
    }
    arrive(fiber.context);
  }

  // The next lane of the warp under way that can run, which then counts as running.
  Fiber* next_lane() {
    Warp& warp = warps_[warp_];
    while (place_in_order_ < lanes_.size()) {
      const unsigned lane = lanes_[place_in_order_++];
      if (!(warp.ready >> lane & 1)) continue;
      warp.ready &= ~(1u << lane);
      return &fibers_[warp_ * WARP + lane];
    }
    return nullptr;
  }

  void report(const char* what, const Place& place, const Fiber* fiber) {
    if (faulty_) return;
    faulty_ = true;
    const uint3 thread = fiber->thread.index;
    char text[512];
    std::snprintf(text, sizeof text, "%s: %s %s at %s:%d (block %u, %u, %u, thread %u, %u, %u)", kernel_->name, place.what, what, place.file, place.line,
                  block_index.x, block_index.y, block_index.z, thread.x, thread.y, thread.z);
    error = text;
  }

  // Functions that are templates have a place of their own for each type.
  static bool same(const Place& a, const Place& b) { return &a == &b || (a.line == b.line && std::strcmp(a.file, b.file) == 0); }

  // The lanes that a warp has.
  unsigned lanes_of(unsigned warp) const { return ~0u >> (WARP - std::min<unsigned>(WARP, count_ - warp * WARP)); }

  // Lets the lanes of a warp run; whether any could.
  bool step(unsigned index) {
    Warp& warp = warps_[index];
    const bool ran = warp.ready != 0;
    warp_ = index;
    place_in_order_ = 0;
    if (Fiber* const first = next_lane()) enter(*first);
    if (faulty_) return false;
    if (!warp.waiting) return ran;
    if (warp.mask != warp.waiting) {
      // Nobody in this warp can run any more, so the missing lanes never come.
      const bool are_missing = warp.mask & ~warp.waiting & lanes_of(index);
      const char* const what = are_missing ? "is not reached by every lane that it names" : "names lanes that there are not";
      return report(what, *warp.place, &fibers_[index * WARP + __builtin_ctz(warp.waiting)]), false;
    }
    warp.present = warp.ready = warp.waiting;
    warp.waiting = 0;
    return true;
  }

  void run_block() {
    for (unsigned i = 0; i < count_; ++i) start(fibers_[i], i);
    const unsigned warps = (count_ + WARP - 1) / WARP;
    at_block_ = 0;
    for (unsigned warp = 0; warp < warps; ++warp) warps_[warp].ready = lanes_of(warp), warps_[warp].waiting = 0;
    std::vector<unsigned> order(warps);
    lanes_.resize(WARP);
    for (unsigned i = 0; i < warps; ++i) order[i] = schedule_ == 1 ? warps - 1 - i : i;
    for (unsigned i = 0; i < WARP; ++i) lanes_[i] = schedule_ == 1 ? WARP - 1 - i : i;
    for (;;) {
      if (schedule_ > 1) {
        std::shuffle(order.begin(), order.end(), random_);
        std::shuffle(lanes_.begin(), lanes_.end(), random_);
      }
      for (unsigned warp : order) {
        // At random, a warp now stops between two exchanges and now runs ahead.
        while (step(warp) && (schedule_ <= 1 || random_() % 4 != 0)) {}
        if (faulty_) return;
      }
      bool can_run = false;
      for (unsigned warp = 0; warp < warps; ++warp) can_run = can_run || warps_[warp].ready != 0;
      if (can_run) continue;
      if (at_block_ == 0) return;
      if (at_block_ != count_) return report("is not reached by every thread of the block", *block_place_, stopped_);
      at_block_ = 0;
      for (unsigned warp = 0; warp < warps; ++warp) warps_[warp].ready = lanes_of(warp);
    }
  }

  const Registration* kernel_ = nullptr;
  const void* arguments_ = nullptr;
  int schedule_ = 0;
  std::mt19937 random_;
  unsigned count_ = 0;
  bool faulty_ = false;
  std::unique_ptr<char, Unmap> stacks_{nullptr, Unmap{0}};
  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::vector<Array> shared_;
  std::size_t shared_bytes_ = 0;
  Context scheduler_;
  [[maybe_unused]] const void* scheduler_stack_ = nullptr;
  [[maybe_unused]] std::size_t scheduler_bytes_ = 0;
  Fiber* running_ = nullptr;
  [[maybe_unused]] bool comes_from_scheduler_ = true;
  // The warp under way, the order of lanes, and how far it has come.
  unsigned warp_ = 0;
  std::vector<unsigned> lanes_;
  std::size_t place_in_order_ = 0;
  // The threads that wait at a barrier of the block, which barrier, and the first of them.
  unsigned at_block_ = 0;
  const Place* block_place_ = nullptr;
  const Fiber* stopped_ = nullptr;
};

thread_local std::unique_ptr<Machine> machine;
// That whose kernel runs, where its threads find it at once.
thread_local __attribute__((tls_model("initial-exec"))) Machine* active;

Machine& here() {
  if (!machine) machine = std::make_unique<Machine>();
  active = machine.get();
  return *machine;
}

void Machine::enter_fiber() { active->body(); }

std::map<std::string, const Registration*>& kernels() {
  static std::map<std::string, const Registration*> table;
  return table;
}

int schedule = 0;

} // namespace

Registration::Registration(const char* name, std::size_t argument_bytes, unsigned most_threads, Body body)
    : name(name), argument_bytes(argument_bytes), most_threads(most_threads), body(body) {
  kernels()[name] = this;
}

void wait_for_block(const Place& place) { active->wait_for_block(place); }
void wait_for_warp(unsigned mask, const Place& place) { active->wait_for_warp(mask, place); }
void fault(const char* what, const Place& place) { active->fail(what, place); }
void* shared_array(const void* key, std::size_t bytes, const Place& place) { return active->array(key, bytes, place); }

} // namespace host

#define API extern "C" __attribute__((visibility("default")))

// Whether there is a kernel of this name.
API int mfm_kernel_find(const char* name) { return host::kernels().count(name) != 0; }

// The names of all kernels, one after another, in alphabetical order; 0 after the last.
API const char* mfm_kernel_name(int i) {
  for (const auto& [name, kernel] : host::kernels()) {
    if (i-- == 0) return kernel->name;
  }
  return nullptr;
}

// The size of the kernel's argument; 0 for a name that is not known.
API std::size_t mfm_kernel_argument_bytes(const char* name) {
  const auto found = host::kernels().find(name);
  return found == host::kernels().end() ? 0 : found->second->argument_bytes;
}

// The order in which blocks, warps and lanes run: 0 forward, 1 in reverse, from 2 on a seed of a random one.
API void mfm_kernel_schedule(int schedule) { host::schedule = schedule; }

// What went wrong in the last launch of this thread.
API const char* mfm_kernel_error() { return host::here().error.c_str(); }

// Runs a kernel to its end: 0, or the driver's number of the error: 1 for bad arguments, 500 for a name that is not known, 719 for a fault.
API int mfm_kernel_launch(const char* name, const unsigned grid[3], const unsigned block[3], unsigned shared, void** parameters) {
  host::Machine& machine = host::here();
  machine.error.clear();
  const auto found = host::kernels().find(name);
  if (found == host::kernels().end()) return machine.error = std::string("there is no kernel '") + name + "'", 500;
  const unsigned long long threads = 1ull * block[0] * block[1] * block[2];
  const bool fits = grid[0] >= 1 && grid[0] <= 0x7fffffffu && grid[1] >= 1 && grid[1] <= 65535 && grid[2] >= 1 && grid[2] <= 65535;
  if (!fits || threads < 1 || threads > found->second->most_threads || shared != 0) {
    return machine.error = std::string(name) + ": a grid, block or shared memory that the kernel cannot have", 1;
  }
  host::grid_size = {grid[0], grid[1], grid[2]};
  host::block_size = {block[0], block[1], block[2]};
  return machine.run(*found->second, parameters[0], host::schedule) ? 0 : 719;
}
