#include "judge.hpp"

#include <algorithm>
#include <set>

#if defined(__SANITIZE_ADDRESS__)
#define JUDGE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define JUDGE_ASAN 1
#endif
#endif
#ifdef JUDGE_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace judge {

Context context;
int failures = 0;

namespace {
constexpr std::size_t GUARD = 128;
constexpr unsigned char MARK = 0xa5;

std::vector<const Test*>& tests() {
  static std::vector<const Test*> list;
  return list;
}
std::set<std::string> launched;
} // namespace

double number(float x) { return x; }
double number(Bf16 x) {
  const std::uint32_t bits = std::uint32_t(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double activation(int op, double x) {
  switch (op) {
    case ACTIVATION_SILU: return x * sigmoid(x);
    case ACTIVATION_GELU: return x * sigmoid(2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    case ACTIVATION_TANH: return std::tanh(x);
    default: return x;
  }
}

template <>
float rounded<float>(double x) {
  return float(x);
}
// By way of f32, as a device does.
template <>
Bf16 rounded<Bf16>(double x) {
  const float value = float(x);
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return {0x7fff};
  const std::uint32_t lower = bits & 0xffff, odd = bits >> 16 & 1;
  return {std::uint16_t((bits >> 16) + (lower > 0x8000 || (lower == 0x8000 && odd)))};
}

Memory::Memory(std::size_t bytes, std::size_t shift) : bytes_(bytes) {
  whole_ = (bytes + shift + 2 * GUARD + 63) / 64 * 64;
  block_ = static_cast<unsigned char*>(std::aligned_alloc(64, whole_));
  std::memset(block_, MARK, whole_);
  data_ = block_ + GUARD + shift;
#ifdef JUDGE_ASAN
  __asan_poison_memory_region(block_, std::size_t(data_ - block_));
  __asan_poison_memory_region(data_ + bytes, std::size_t(block_ + whole_ - data_) - bytes);
#endif
}
Memory::~Memory() {
#ifdef JUDGE_ASAN
  __asan_unpoison_memory_region(block_, whole_);
#endif
  std::free(block_);
}
bool Memory::intact() const {
#ifdef JUDGE_ASAN
  return true; // whoever touches the guards is stopped at once
#else
  const auto marked = [](unsigned char byte) { return byte == MARK; };
  return std::all_of(block_, data_, marked) && std::all_of(data_ + bytes_, block_ + whole_, marked);
#endif
}

Index elements(const Shape& shape) {
  Index n = 1;
  for (Index length : shape) n *= length;
  return n;
}
std::vector<Index> coordinates(const Shape& shape, Index i) {
  std::vector<Index> at(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    at[axis] = i % shape[axis];
    i /= shape[axis];
  }
  return at;
}
Space space(const Shape& shape) {
  Space space{};
  space.elements = elements(shape);
  space.rank = int(shape.size());
  for (std::size_t axis = 0; axis < shape.size(); ++axis) space.length[axis] = shape[axis];
  return space;
}

Strides strides(const Shape& shape, Layout layout) {
  Strides result;
  const std::size_t rank = shape.size();
  result.stride.resize(rank);
  if (layout == Layout::Unaligned) result.shift = 1;
  Index step = layout == Layout::Gaps ? 2 : 1;
  for (std::size_t k = 0; k < rank; ++k) {
    std::size_t axis = layout == Layout::Reversed ? k : rank - 1 - k;
    if (layout == Layout::Swapped && rank >= 2 && k < 2) axis = rank - 2 + k; // the last two axes lie the other way round
    const bool stretched = layout == Layout::Stretched || (layout == Layout::StretchedOuter && axis == 0 && rank > 1) ||
                           (layout == Layout::StretchedInner && axis + 1 == rank);
    if (stretched) continue;
    result.stride[axis] = step;
    result.span += (shape[axis] - 1) * step;
    step *= shape[axis];
    if (layout == Layout::Padded && k == 0) step += 1;
    if (layout == Layout::PaddedByVectors && k == 0) step = (step + 8) / 8 * 8;
  }
  return result;
}

void fail(const std::string& what) {
  if (++failures <= 20) std::printf("FAILED %s: %s\n", context.text.c_str(), what.c_str());
}

void run(const std::string& name, Extent grid, Extent block, const void* args) {
  void* parameter = const_cast<void*>(args);
  const unsigned blocks[3] = {grid.x, grid.y, grid.z}, threads[3] = {block.x, block.y, block.z};
  launched.insert(name);
  const int code = mfm_kernel_launch(name.c_str(), blocks, threads, 0, &parameter);
  if (code != 0) fail("error " + std::to_string(code) + ": " + mfm_kernel_error());
}

Test::Test(const char* subject, const char* name, void (*body)()) : subject(subject), name(name), body(body) { tests().push_back(this); }

const std::vector<Shape> SHAPES = {{},      {1},     {3},        {8},       {257},        {1030},       {2, 3},          {3, 8},
                                   {7, 16}, {33, 40}, {1, 5, 1}, {5, 3, 8}, {2, 3, 2, 5}, {2, 3, 2, 2, 3}, {2, 2, 3, 2, 2, 8}, {3, 3, 520}};

} // namespace judge

// judge [--schedule N]... [SUBJECT...]: the tests of these subjects, or all, under each schedule. Status 1 if any fails.
int main(int count, char** words) {
  using namespace judge;
  std::vector<int> schedules;
  std::set<std::string> subjects;
  for (int i = 1; i < count; ++i) {
    if (std::string(words[i]) == "--schedule" && i + 1 < count) {
      schedules.push_back(std::atoi(words[++i]));
    } else {
      subjects.insert(words[i]);
    }
  }
  if (schedules.empty()) schedules = {0, 1, 7};
  int run = 0;
  for (int schedule : schedules) {
    mfm_kernel_schedule(schedule);
    for (const Test* test : tests()) {
      if (!subjects.empty() && !subjects.count(test->subject)) continue;
      context.text = std::string(test->subject) + "." + test->name;
      test->body();
      ++run;
    }
  }
  if (run == 0) return std::printf("no test of such a subject\n"), 2;
  if (subjects.empty()) {
    for (int i = 0; mfm_kernel_name(i); ++i) {
      if (!launched.count(mfm_kernel_name(i))) context.text = "coverage", fail(std::string("no test launches ") + mfm_kernel_name(i));
    }
  }
  std::printf("%d tests under %zu schedules, %d failures\n", run / int(schedules.size()), schedules.size(), failures);
  return failures != 0;
}
