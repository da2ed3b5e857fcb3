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

#ifdef HOST_ASAN
constexpr std::size_t STACK = 256 << 10;
#else
constexpr std::size_t STACK = 64 << 10;
#endif
constexpr unsigned MOST_THREADS = 1024;

enum class State { Ready, AtBlock, AtWarp, Done };

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
  State state;
  unsigned mask; // of the warp operation it waits at
  Place place;
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

  void wait(State state, unsigned mask, Place place) {
    Fiber& fiber = *running_;
    fiber.state = state;
    fiber.mask = mask;
    fiber.place = place;
    leave(false);
  }

  // Reports a fault and never comes back: the block is abandoned.
  [[noreturn]] void fail(const char* what, Place place) {
    report(what, place, running_);
    leave(false);
    std::abort();
  }

  void* array(const void* key, std::size_t bytes, Place place) {
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
    running_->state = State::Done;
    leave(true);
    std::abort();
  }

  void start(Fiber& fiber, unsigned i) {
    fiber.thread = {{i % block_size.x, i / block_size.x % block_size.y, i / (block_size.x * block_size.y)}, int(i % WARP), 0, &warps_[i / WARP], {}};
    fiber.state = State::Ready;
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
    __sanitizer_finish_switch_fiber(self.fake_stack, &scheduler_stack_, &scheduler_bytes_);
#endif
  }

  void enter(Fiber& fiber) {
    running_ = &fiber;
    current = &fiber.thread;
#ifdef HOST_ASAN
    __sanitizer_start_switch_fiber(&scheduler_.fake_stack, stack(fiber), STACK);
#endif
    jump(scheduler_, fiber.context);
#ifdef HOST_ASAN
    __sanitizer_finish_switch_fiber(scheduler_.fake_stack, nullptr, nullptr);
#endif
  }

  void leave([[maybe_unused]] bool for_good) {
    Fiber& fiber = *running_;
#ifdef HOST_ASAN
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fiber.context.fake_stack, scheduler_stack_, scheduler_bytes_);
#endif
    jump(fiber.context, scheduler_);
    arrive(fiber.context);
  }

  void report(const char* what, Place place, const Fiber* fiber) {
    if (faulty_) return;
    faulty_ = true;
    const uint3 thread = fiber->thread.index;
    char text[512];
    std::snprintf(text, sizeof text, "%s: %s %s at %s:%d (block %u, %u, %u, thread %u, %u, %u)", kernel_->name, place.what, what, place.file, place.line,
                  block_index.x, block_index.y, block_index.z, thread.x, thread.y, thread.z);
    error = text;
  }

  static bool same(const Place& a, const Place& b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

  // Lets the lanes of a warp run; whether any could.
  bool step(unsigned warp, const std::vector<unsigned>& lanes) {
    Fiber* const first = &fibers_[warp * WARP];
    const unsigned size = std::min<unsigned>(WARP, count_ - warp * WARP);
    bool ran = false;
    for (unsigned lane : lanes) {
      if (lane >= size || first[lane].state != State::Ready) continue;
      enter(first[lane]);
      ran = true;
      if (faulty_) return false;
    }
    unsigned waiting = 0;
    for (unsigned lane = 0; lane < size; ++lane) waiting |= unsigned(first[lane].state == State::AtWarp) << lane;
    if (!waiting) return ran;
    const Fiber& leader = first[__builtin_ctz(waiting)];
    for (unsigned lane = 0; lane < size; ++lane) {
      const Fiber& fiber = first[lane];
      if (!(waiting >> lane & 1)) {
        // Nobody in this warp can run any more, so the missing lanes never come.
        if (leader.mask >> lane & 1) return report("is not reached by every lane that it names", leader.place, &leader), false;
      } else if (fiber.mask != leader.mask || !same(fiber.place, leader.place)) {
        return report("is reached by some lanes while others wait elsewhere", fiber.place, &fiber), false;
      }
    }
    if (leader.mask != waiting) return report("names lanes that there are not", leader.place, &leader), false;
    warps_[warp].present = waiting;
    for (unsigned lane = 0; lane < size; ++lane) {
      if (waiting >> lane & 1) first[lane].state = State::Ready;
    }
    return true;
  }

  void run_block() {
    for (unsigned i = 0; i < count_; ++i) start(fibers_[i], i);
    const unsigned warps = (count_ + WARP - 1) / WARP;
    std::vector<unsigned> order(warps), lanes(WARP);
    for (unsigned i = 0; i < warps; ++i) order[i] = schedule_ == 1 ? warps - 1 - i : i;
    for (unsigned i = 0; i < WARP; ++i) lanes[i] = schedule_ == 1 ? WARP - 1 - i : i;
    for (;;) {
      if (schedule_ > 1) {
        std::shuffle(order.begin(), order.end(), random_);
        std::shuffle(lanes.begin(), lanes.end(), random_);
      }
      for (unsigned warp : order) {
        // At random, a warp now stops between two exchanges and now runs ahead.
        while (step(warp, lanes) && (schedule_ <= 1 || random_() % 4 != 0)) {}
        if (faulty_) return;
      }
      unsigned ready = 0, waiting = 0;
      const Fiber* stopped = nullptr;
      for (unsigned i = 0; i < count_; ++i) {
        ready += fibers_[i].state == State::Ready;
        if (fibers_[i].state == State::AtBlock) {
          ++waiting;
          if (stopped && !same(stopped->place, fibers_[i].place)) return report("is reached by some threads while others wait elsewhere", fibers_[i].place, &fibers_[i]);
          stopped = &fibers_[i];
        }
      }
      if (ready) continue;
      if (!waiting) return;
      if (waiting != count_) return report("is not reached by every thread of the block", stopped->place, stopped);
      for (unsigned i = 0; i < count_; ++i) fibers_[i].state = State::Ready;
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
};

thread_local std::unique_ptr<Machine> machine;

Machine& here() {
  if (!machine) machine = std::make_unique<Machine>();
  return *machine;
}

void Machine::enter_fiber() { here().body(); }

std::map<std::string, const Registration*>& kernels() {
  static std::map<std::string, const Registration*> table;
  return table;
}

int schedule_of_environment() {
  const char* const text = std::getenv("MFM_KERNEL_SCHEDULE");
  return text ? std::atoi(text) : 0;
}

int& schedule() {
  static int value = schedule_of_environment();
  return value;
}

} // namespace

Registration::Registration(const char* name, std::size_t argument_bytes, unsigned most_threads, Body body)
    : name(name), argument_bytes(argument_bytes), most_threads(most_threads), body(body) {
  kernels()[name] = this;
}

void wait_for_block(Place place) { machine->wait(State::AtBlock, 0, place); }
void wait_for_warp(unsigned mask, Place place) { machine->wait(State::AtWarp, mask, place); }
void fault(const char* what, Place place) { machine->fail(what, place); }
void* shared_array(const void* key, std::size_t bytes, Place place) { return machine->array(key, bytes, place); }

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

// The most threads that a block of the kernel may have; 0 for a name that is not known.
API int mfm_kernel_most_threads(const char* name) {
  const auto found = host::kernels().find(name);
  return found == host::kernels().end() ? 0 : int(found->second->most_threads);
}

// The size of the kernel's argument; 0 for a name that is not known.
API std::size_t mfm_kernel_argument_bytes(const char* name) {
  const auto found = host::kernels().find(name);
  return found == host::kernels().end() ? 0 : found->second->argument_bytes;
}

// The order in which blocks, warps and lanes run: 0 forward, 1 in reverse, from 2 on a seed of a random one. MFM_KERNEL_SCHEDULE sets it at the start.
API void mfm_kernel_schedule(int schedule) { host::schedule() = schedule; }

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
  return machine.run(*found->second, parameters[0], host::schedule()) ? 0 : 719;
}
