// A stand-in for libcuda: the functions that the adapter calls, with one or more devices whose memory is the host's and whose kernels run on the CPU
// (kernels/host). Work is done when it is queued (unless it is to be lazy), but that what goes wrong in a kernel is reported at the next call, as a device does. Faults can be asked for.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

extern "C" {
int mfm_kernel_launch(const char* name, const unsigned grid[3], const unsigned block[3], unsigned shared, void** parameters);
int mfm_kernel_find(const char* name);
size_t mfm_kernel_argument_bytes(const char* name);
const char* mfm_kernel_error();
}

namespace {

using Result = int;
using Address = unsigned long long;

constexpr unsigned NON_BLOCKING = 1; // CU_STREAM_NON_BLOCKING
constexpr Result SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, NOT_FOUND = 500, NOT_READY = 600,
                 ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901;
constexpr size_t GUARD = 256; // bytes before and after each piece of memory that nobody may write to
constexpr unsigned char GUARDED = 0xA5, FRESH = 0xFF; // fresh memory is NaN in every type

struct Node {
  std::vector<Node> child; // or empty: work, a kernel or a copy
  std::function<void()> work; // or empty: a kernel or a copy
  std::string kernel; // or empty: a copy
  unsigned grid[3], block[3];
  std::vector<unsigned char> arguments;
  void* to = nullptr;
  const void* from = nullptr;
  size_t bytes = 0;
};

struct Graph {
  std::vector<Node> nodes; // one after another
};

// A copy as graphs are told of it (CUDA_MEMCPY3D).
struct Box {
  size_t from_x, from_y, from_z, from_level;
  unsigned from_kind;
  const void* from_host;
  Address from_device;
  void *from_array, *from_reserved;
  size_t from_pitch, from_height, to_x, to_y, to_z, to_level;
  unsigned to_kind;
  void* to_host;
  Address to_device;
  void *to_array, *to_reserved;
  size_t to_pitch, to_height, width, height, depth;
};

// A kernel as graphs are told of it (CUDA_KERNEL_NODE_PARAMS).
struct Call {
  void* function;
  unsigned grid[3], block[3], shared;
  void **parameters, **extra;
};

struct Event;

struct Stream {
  void* context = nullptr;
  Graph* capture = nullptr;
  bool invalid = false;
  bool apart = false; // not joined with the legacy default stream
  std::deque<std::function<void()>> queued; // what a lazy device has not done yet
  size_t asked = 0, done = 0;
};

// Happens when its stream has done so much.
struct Event {
  std::shared_ptr<Stream> stream;
  size_t place = 0;
  bool happened() const { return !stream || stream->done >= place; }
};

struct Piece {
  size_t bytes;
};

struct Fault {
  Result code;
  int after;
};

std::recursive_mutex guard;
std::map<Address, Piece> pieces;
std::map<std::string, Fault> faults;
std::map<std::string, void*> functions;
std::map<Stream*, std::shared_ptr<Stream>> streams;
Result lost = SUCCESS; // the failure after which nothing works
int device_count = 1, version = 13000, capability = 90;
size_t memory = size_t(8) << 30, used = 0;
int launches = 0, instantiations = 0, graph_launches = 0, changes = 0, broken = 0;
std::atomic<bool> strict{false}; // loading a module, and what pins memory or lets go of it, waits for the whole context
bool lazy = false; // work is done when somebody waits for it, not when it is queued
thread_local void* current = nullptr;

bool is_final(Result code) {
  return code == 46 || code == 214 || code == 700 || code == 702 || code == 710 || (code >= 714 && code <= 719) || code == 999;
}

// What a call of this name returns before it does anything.
Result enter(const char* name) {
  auto fault = faults.find(name);
  if (fault != faults.end() && fault->second.after-- == 0) {
    Result code = fault->second.code;
    faults.erase(fault);
    if (is_final(code)) lost = code;
    return code;
  }
  if (lost != SUCCESS) return lost;
  return current ? SUCCESS : INVALID_CONTEXT;
}

#define ENTER(name)                                          \
  std::lock_guard<std::recursive_mutex> lock(guard);         \
  if (Result code = enter(name); code != SUCCESS) return code;

Result allocate(Address* address, size_t bytes) {
  if (bytes == 0) return INVALID_VALUE;
  if (bytes > memory - used) return OUT_OF_MEMORY;
  void* raw = nullptr;
  if (posix_memalign(&raw, 256, bytes + 2 * GUARD) != 0) return OUT_OF_MEMORY;
  unsigned char* start = static_cast<unsigned char*>(raw);
  memset(start, GUARDED, GUARD);
  memset(start + GUARD, FRESH, bytes);
  memset(start + GUARD + bytes, GUARDED, GUARD);
  *address = reinterpret_cast<Address>(start + GUARD);
  pieces[*address] = {bytes};
  used += bytes;
  return SUCCESS;
}

bool intact(Address address, size_t bytes) {
  const unsigned char* start = reinterpret_cast<const unsigned char*>(address);
  for (size_t i = 0; i < GUARD; ++i)
    if (start[-1 - static_cast<long>(i)] != GUARDED || start[bytes + i] != GUARDED) return false;
  return true;
}

Result release(Address address) {
  auto piece = pieces.find(address);
  if (piece == pieces.end()) return INVALID_VALUE;
  if (!intact(address, piece->second.bytes)) {
    fprintf(stderr, "emulated driver: memory was written outside a piece of %zu bytes\n", piece->second.bytes);
    return lost = ILLEGAL_ADDRESS;
  }
  used -= piece->second.bytes;
  free(reinterpret_cast<unsigned char*>(address) - GUARD);
  pieces.erase(piece);
  return SUCCESS;
}

// Whether all of it is device memory.
bool inside(Address address, size_t bytes) {
  auto next = pieces.upper_bound(address);
  if (next == pieces.begin()) return false;
  auto piece = std::prev(next);
  return address + bytes <= piece->first + piece->second.bytes;
}

Result run(const Node& node) {
  for (const Node& inner : node.child) run(inner);
  if (!node.child.empty()) return SUCCESS;
  if (node.work) {
    node.work();
    return SUCCESS;
  }
  if (node.kernel.empty()) {
    memmove(node.to, node.from, node.bytes);
    return SUCCESS;
  }
  void* parameters[] = {const_cast<unsigned char*>(node.arguments.data())};
  ++launches;
  Result code = mfm_kernel_launch(node.kernel.c_str(), node.grid, node.block, 0, parameters);
  if (code != SUCCESS) {
    fprintf(stderr, "emulated driver: %s: %s\n", node.kernel.c_str(), mfm_kernel_error());
    lost = code; // reported by the next call
  }
  return SUCCESS;
}

// Does what a stream has queued, up to a place.
void advance(Stream& stream, size_t place) {
  while (stream.done < place && !stream.queued.empty()) {
    const auto work = std::move(stream.queued.front());
    stream.queued.pop_front();
    work();
    ++stream.done;
  }
}

// Does work in the order of its stream.
Result queue(Stream* stream, std::function<Result()> work) {
  if (!stream || !lazy) return work();
  ++stream->asked;
  stream->queued.push_back([work = std::move(work)] {
    if (Result code = work(); code != SUCCESS && lost == SUCCESS) lost = code;
  });
  return SUCCESS;
}

// Waits for the whole context, which breaks what is captured in it, by any thread.
void disturb() {
  for (auto& entry : streams) {
    Stream& stream = *entry.second;
    if (stream.context != current) continue;
    if (stream.capture) stream.invalid = true, ++broken;
    else advance(stream, stream.asked);
  }
}

// Runs a node, or captures it.
Result submit(Stream* stream, Node node) {
  if (stream && stream->capture) {
    if (stream->invalid) return CAPTURE_INVALIDATED;
    stream->capture->nodes.push_back(std::move(node));
    return SUCCESS;
  }
  return queue(stream, [node = std::move(node)] { return run(node); });
}

// A kernel's node, if there can be such a launch.
Result kernel_node(Node& node, const Call& call) {
  const unsigned *grid = call.grid, *block = call.block;
  const unsigned threads = block[0] * block[1] * block[2];
  if (!call.function || grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[1] > 65535 || grid[2] > 65535 || threads == 0 || threads > 1024) return INVALID_VALUE;
  node.kernel = *static_cast<std::string*>(call.function);
  memcpy(node.grid, grid, sizeof node.grid), memcpy(node.block, block, sizeof node.block);
  const unsigned char* arguments = static_cast<const unsigned char*>(call.parameters[0]);
  node.arguments.assign(arguments, arguments + mfm_kernel_argument_bytes(node.kernel.c_str()));
  return SUCCESS;
}

// A node of a copy to the device.
Result copy_node(Node& node, const Box& box) {
  const bool flat = box.height == 1 && box.depth == 1 && box.from_x + box.from_y + box.from_z + box.to_x + box.to_y + box.to_z == 0;
  if (!flat || box.from_kind != 1 || box.to_kind != 2 || box.width == 0 || !inside(box.to_device, box.width)) return INVALID_VALUE;
  node.to = reinterpret_cast<void*>(box.to_device), node.from = box.from_host, node.bytes = box.width;
  return SUCCESS;
}

// Adds a node behind the last of a graph, as which it must be asked for. Nodes are named by their places, counted from one.
Result add_node(void** name, Graph* graph, void* const* before, size_t count, Node node) {
  const size_t place = graph->nodes.size();
  if (place == 0 ? count != 0 : count != 1 || *before != reinterpret_cast<void*>(place)) return INVALID_VALUE;
  graph->nodes.push_back(std::move(node));
  return *name = reinterpret_cast<void*>(place + 1), SUCCESS;
}

bool alike(const Node& a, const Node& b) {
  return a.kernel == b.kernel && !a.work == !b.work && std::equal(a.child.begin(), a.child.end(), b.child.begin(), b.child.end(), alike);
}

// Puts a node in another's place that differs in numbers alone; others are refused.
Result change_node(Graph* executable, void* name, Node node) {
  const size_t place = reinterpret_cast<size_t>(name);
  if (place == 0 || place > executable->nodes.size() || !alike(executable->nodes[place - 1], node)) return INVALID_VALUE;
  return ++changes, executable->nodes[place - 1] = std::move(node), SUCCESS;
}

Result copy(Stream* stream, void* to, const void* from, size_t bytes, Address device) {
  if (bytes > 0 && !inside(device, bytes)) return INVALID_VALUE;
  Node node;
  node.to = to, node.from = from, node.bytes = bytes;
  return submit(stream, std::move(node));
}

// What may not be done while a stream is captured.
Result not_captured(Stream* stream) {
  if (!stream || !stream->capture) return SUCCESS;
  stream->invalid = true;
  return CAPTURE_UNSUPPORTED;
}

} // namespace

#define API extern "C" __attribute__((visibility("default"))) Result

// What tests ask of it -------------------------------------------------------------------------------------------------------------------

// The call number `after` (0: the next one) of a function fails with `code`.
extern "C" __attribute__((visibility("default"))) void emulator_fail(const char* function, int code, int after) {
  std::lock_guard<std::recursive_mutex> lock(guard);
  faults[function] = {code, after};
}
// So many devices, of this compute capability (90 for 9.0) and memory, under a driver of this version. Heals a lost device, whose memory is gone.
extern "C" __attribute__((visibility("default"))) void emulator_configure(int devices, int driver, int compute, size_t bytes) {
  std::lock_guard<std::recursive_mutex> lock(guard);
  device_count = devices, version = driver, capability = compute, memory = bytes;
  faults.clear();
  if (lost == SUCCESS) return;
  for (const auto& piece : pieces) free(reinterpret_cast<unsigned char*>(piece.first) - GUARD);
  pieces.clear();
  used = 0, lost = SUCCESS;
}
// Work of the streams is done as late as it may be: when it is waited for.
extern "C" __attribute__((visibility("default"))) void emulator_be_lazy(int whether) {
  std::lock_guard<std::recursive_mutex> lock(guard);
  lazy = whether != 0;
}
// Loading a module, pinning memory and letting go of it wait for the whole context, as they may.
extern "C" __attribute__((visibility("default"))) void emulator_be_strict(int whether) {
  std::lock_guard<std::recursive_mutex> lock(guard);
  strict = whether != 0;
}
// Kernels run so far, graphs made and launched, nodes of them changed, captures broken; bytes of device memory in use.
extern "C" __attribute__((visibility("default"))) int emulator_launches() { return launches; }
extern "C" __attribute__((visibility("default"))) int emulator_instantiations() { return instantiations; }
extern "C" __attribute__((visibility("default"))) int emulator_graph_launches() { return graph_launches; }
extern "C" __attribute__((visibility("default"))) int emulator_changes() { return changes; }
extern "C" __attribute__((visibility("default"))) int emulator_broken() { return broken; }
extern "C" __attribute__((visibility("default"))) size_t emulator_used() { return used; }

// The driver -----------------------------------------------------------------------------------------------------------------------------

API cuDriverGetVersion(int* found) { return *found = version, SUCCESS; }
API cuInit(unsigned) { return device_count > 0 ? SUCCESS : NO_DEVICE; }
API cuDeviceGetCount(int* count) { return *count = device_count, SUCCESS; }
API cuDeviceGet(int* device, int index) { return *device = index, index >= 0 && index < device_count ? SUCCESS : INVALID_DEVICE; }
API cuDeviceGetName(char* name, int length, int device) { return snprintf(name, length, "emulated device %d", device), SUCCESS; }
API cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = memory, SUCCESS; }
API cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 16: *value = 4; break; // multiprocessors
    case 38: *value = 50 << 20; break; // bytes of the L2 cache
    case 75: *value = capability / 10; break;
    case 76: *value = capability % 10; break;
    default: *value = 0;
  }
  return SUCCESS;
}
API cuDevicePrimaryCtxRetain(void** context, int device) {
  std::lock_guard<std::recursive_mutex> lock(guard);
  auto fault = faults.find("cuDevicePrimaryCtxRetain");
  if (fault != faults.end()) {
    Result code = fault->second.code;
    faults.erase(fault);
    return code;
  }
  *context = reinterpret_cast<void*>(static_cast<intptr_t>(device + 1));
  return lost;
}
API cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
API cuCtxSetCurrent(void* context) { return current = context, SUCCESS; }
API cuCtxGetCurrent(void** context) { return *context = current, SUCCESS; }
API cuCtxSynchronize() {
  ENTER("cuCtxSynchronize");
  return disturb(), lost;
}
API cuMemGetInfo_v2(size_t* available, size_t* total) {
  ENTER("cuMemGetInfo_v2");
  return *available = memory - used, *total = memory, SUCCESS;
}

API cuGetErrorString(int code, const char** text) {
  switch (code) {
    case SUCCESS: *text = "no error"; break;
    case INVALID_VALUE: *text = "invalid argument"; break;
    case NOT_FOUND: *text = "named symbol not found"; break;
    default: *text = "an error of the emulated driver"; break;
  }
  return SUCCESS;
}

API cuModuleLoadDataEx(void** module, const void* image, unsigned, void*, void**) {
  ENTER("cuModuleLoadDataEx");
  if (strict) disturb();
  return *module = const_cast<void*>(image), image ? SUCCESS : INVALID_VALUE;
}
API cuModuleUnload(void*) {
  std::lock_guard<std::recursive_mutex> lock(guard);
  return disturb(), SUCCESS;
}
API cuModuleGetFunction(void** function, void*, const char* name) {
  ENTER("cuModuleGetFunction");
  if (!mfm_kernel_find(name)) return NOT_FOUND;
  void*& known = functions[name];
  if (!known) known = new std::string(name);
  return *function = known, SUCCESS;
}

// As if no block took much of a multiprocessor.
API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* function, int threads, size_t) {
  ENTER("cuOccupancyMaxActiveBlocksPerMultiprocessor");
  if (!function || threads < 1 || threads > 1024) return INVALID_VALUE;
  return *blocks = 2048 / threads, SUCCESS;
}

API cuStreamCreateWithPriority(Stream** stream, unsigned flags, int) {
  ENTER("cuStreamCreateWithPriority");
  auto made = std::make_shared<Stream>();
  made->context = current;
  made->apart = flags == NON_BLOCKING;
  return streams[made.get()] = made, *stream = made.get(), SUCCESS;
}
API cuStreamDestroy_v2(Stream* stream) {
  std::lock_guard<std::recursive_mutex> lock(guard);
  advance(*stream, stream->asked);
  return streams.erase(stream), SUCCESS;
}
API cuStreamSynchronize(Stream* stream) {
  ENTER("cuStreamSynchronize");
  if (Result code = not_captured(stream)) return code;
  if (stream) advance(*stream, stream->asked);
  return lost;
}
API cuStreamWaitEvent(Stream* stream, Event* event, unsigned) {
  ENTER("cuStreamWaitEvent");
  if (Result code = not_captured(stream)) return code;
  return queue(stream, [waited = *event] {
    if (!waited.happened()) advance(*waited.stream, waited.place);
    return SUCCESS;
  });
}
API cuEventCreate(Event** event, unsigned) {
  ENTER("cuEventCreate");
  return *event = new Event, SUCCESS;
}
API cuEventDestroy_v2(Event* event) { return delete event, SUCCESS; }
API cuEventRecord(Event* event, Stream* stream) {
  ENTER("cuEventRecord");
  if (Result code = not_captured(stream)) return code;
  if (stream) event->stream = streams[stream], event->place = stream->asked;
  return SUCCESS;
}
API cuEventQuery(Event* event) {
  ENTER("cuEventQuery");
  return event->happened() ? SUCCESS : NOT_READY;
}
API cuEventSynchronize(Event* event) {
  ENTER("cuEventSynchronize");
  if (!event->happened()) advance(*event->stream, event->place);
  return lost;
}

API cuMemAllocAsync(Address* address, size_t bytes, Stream* stream) {
  ENTER("cuMemAllocAsync");
  if (Result code = not_captured(stream)) return code;
  return allocate(address, bytes);
}
API cuMemFreeAsync(Address address, Stream* stream) {
  ENTER("cuMemFreeAsync");
  if (Result code = not_captured(stream)) return code;
  return queue(stream, [address] { return release(address); });
}
API cuMemAllocHost_v2(void** pointer, size_t bytes) {
  ENTER("cuMemAllocHost_v2");
  if (strict) disturb();
  return *pointer = malloc(bytes), *pointer ? SUCCESS : OUT_OF_MEMORY;
}
API cuMemFreeHost(void* pointer) {
  std::lock_guard<std::recursive_mutex> lock(guard);
  if (strict) disturb();
  return free(pointer), SUCCESS;
}
API cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, Stream* stream) {
  ENTER("cuMemcpyHtoDAsync_v2");
  return copy(stream, reinterpret_cast<void*>(to), from, bytes, to);
}
API cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, Stream* stream) {
  ENTER("cuMemcpyDtoHAsync_v2");
  return copy(stream, to, reinterpret_cast<const void*>(from), bytes, from);
}

API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned, Stream* stream, void** parameters,
                   void**) {
  ENTER("cuLaunchKernel");
  Node node;
  if (Result code = kernel_node(node, Call{function, {gx, gy, gz}, {bx, by, bz}, 0, parameters, nullptr})) return code;
  return submit(stream, std::move(node));
}

API cuStreamBeginCapture_v2(Stream* stream, unsigned) {
  {
    ENTER("cuStreamBeginCapture_v2");
    // What anyone does on the legacy default stream would break the capture of a stream that is joined with it.
    if (stream->capture || !stream->apart) return INVALID_VALUE;
    stream->capture = new Graph, stream->invalid = false;
  }
  // Others have time to break it.
  if (strict) std::this_thread::sleep_for(std::chrono::microseconds(300));
  return SUCCESS;
}
API cuStreamEndCapture(Stream* stream, Graph** graph) {
  std::lock_guard<std::recursive_mutex> lock(guard);
  std::unique_ptr<Graph> captured(stream->capture);
  // It ends, whatever comes of it.
  stream->capture = nullptr, *graph = nullptr;
  if (Result code = enter("cuStreamEndCapture"); code != SUCCESS) return code;
  if (!captured || stream->invalid) return CAPTURE_INVALIDATED;
  return *graph = captured.release(), SUCCESS;
}
API cuGraphCreate(Graph** graph, unsigned) {
  ENTER("cuGraphCreate");
  return *graph = new Graph, SUCCESS;
}
API cuGraphAddKernelNode(void** name, Graph* graph, void* const* before, size_t count, const Call* call) {
  ENTER("cuGraphAddKernelNode");
  Node node;
  if (Result code = kernel_node(node, *call)) return code;
  return add_node(name, graph, before, count, std::move(node));
}
API cuGraphAddMemcpyNode(void** name, Graph* graph, void* const* before, size_t count, const Box* box, void* context) {
  ENTER("cuGraphAddMemcpyNode");
  Node node;
  if (context != current) return INVALID_CONTEXT;
  if (Result code = copy_node(node, *box)) return code;
  return add_node(name, graph, before, count, std::move(node));
}
API cuGraphAddChildGraphNode(void** name, Graph* graph, void* const* before, size_t count, const Graph* child) {
  ENTER("cuGraphAddChildGraphNode");
  Node node;
  node.child = child->nodes;
  return add_node(name, graph, before, count, std::move(node));
}
API cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long long) {
  ENTER("cuGraphInstantiateWithFlags");
  return ++instantiations, *executable = new Graph(*graph), SUCCESS;
}
API cuGraphExecKernelNodeSetParams(Graph* executable, void* name, const Call* call) {
  ENTER("cuGraphExecKernelNodeSetParams");
  Node node;
  if (Result code = kernel_node(node, *call)) return code;
  return change_node(executable, name, std::move(node));
}
API cuGraphExecMemcpyNodeSetParams(Graph* executable, void* name, const Box* box, void* context) {
  ENTER("cuGraphExecMemcpyNodeSetParams");
  Node node;
  if (context != current) return INVALID_CONTEXT;
  if (Result code = copy_node(node, *box)) return code;
  return change_node(executable, name, std::move(node));
}
API cuGraphDestroy(Graph* graph) { return delete graph, SUCCESS; }
API cuGraphExecDestroy(Graph* graph) { return delete graph, SUCCESS; }
API cuGraphLaunch(Graph* graph, Stream* stream) {
  ENTER("cuGraphLaunch");
  if (Result code = not_captured(stream)) return code;
  ++graph_launches;
  for (const Node& node : graph->nodes)
    if (Result code = queue(stream, [node] { return run(node); })) return code;
  return SUCCESS;
}

// A library waits for the whole context.
void emulator_disturb() {
  std::lock_guard<std::recursive_mutex> lock(guard);
  disturb();
}

// What a library's call of this name returns before it does anything.
int emulator_enter(const char* name) {
  ENTER(name);
  return SUCCESS;
}

// Work of a library on a stream.
int emulator_submit(void* stream, std::function<void()> work) {
  ENTER("emulator_submit");
  Node node;
  node.work = std::move(work);
  return submit(static_cast<Stream*>(stream), std::move(node));
}
