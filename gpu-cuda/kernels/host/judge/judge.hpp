// The judge of the kernels: every kernel against plain loops in f64, over layouts and sizes that are not multiples of anything, with guards around buffers.
#pragma once

#include "abi.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

extern "C" {
int mfm_kernel_launch(const char* name, const unsigned grid[3], const unsigned block[3], unsigned shared, void** parameters);
const char* mfm_kernel_error();
const char* mfm_kernel_name(int i);
void mfm_kernel_schedule(int schedule);
}

namespace judge {

using Index = long long;

// bf16 in the judge's own arithmetic.
struct Bf16 {
  std::uint16_t bits;
};
double number(float x);
double number(Bf16 x);
template <class T>
T rounded(double x);

double sigmoid(double x);
// The value of an `ActivationOp`.
double activation(int op, double x);

// What a type of storage is called, and how far a result may be off in units of its error.
template <class T>
constexpr const char* SUFFIX = sizeof(T) == 4 ? "_f32" : "_bf16";
template <class T>
constexpr double TOLERANCE = sizeof(T) == 4 ? 2e-6 : 1e-2;

// n elements with guards on either side, which a sanitizer also protects from being read. `shift` elements off a multiple of 64 bytes.
class Memory {
 public:
  Memory(std::size_t bytes, std::size_t shift);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }
  bool intact() const;

 private:
  unsigned char* block_;
  unsigned char* data_;
  std::size_t bytes_, whole_;
};

template <class T>
class Buffer {
 public:
  explicit Buffer(Index n, int shift = 0) : n_(n), memory_(std::make_shared<Memory>(std::size_t(n) * sizeof(T), std::size_t(shift) * sizeof(T))) {
    if (n > 0) std::memset(memory_->data(), 0xff, std::size_t(n) * sizeof(T)); // NaN
  }
  T* data() const { return static_cast<T*>(memory_->data()); }
  T& operator[](Index i) const { return data()[i]; }
  Index size() const { return n_; }
  bool intact() const { return memory_->intact(); }

 private:
  Index n_;
  std::shared_ptr<Memory> memory_;
};

// Random numbers, the same in every run.
class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  double normal(double scale = 1.0) { return scale * std::normal_distribution<double>()(engine_); }
  int below(int n) { return int(engine_() % unsigned(n)); }

 private:
  std::mt19937 engine_;
};

// Every index of a shape, outermost first.
using Shape = std::vector<Index>;
Index elements(const Shape& shape);
std::vector<Index> coordinates(const Shape& shape, Index i);
Space space(const Shape& shape);

// How an operand lies in memory.
enum class Layout { Contiguous, Unaligned, Reversed, Swapped, Gaps, Padded, PaddedByVectors, StretchedOuter, StretchedInner, Stretched };
constexpr Layout LAYOUTS[] = {Layout::Contiguous, Layout::Unaligned,       Layout::Reversed,       Layout::Swapped,        Layout::Gaps,
                              Layout::Padded,     Layout::PaddedByVectors, Layout::StretchedOuter, Layout::StretchedInner, Layout::Stretched};

// The strides of `shape` in a layout, and the elements that they span.
struct Strides {
  std::vector<Index> stride;
  Index span = 1;
  int shift = 0;
};
Strides strides(const Shape& shape, Layout layout);

// An operand over a space, filled with normal numbers.
template <class T>
struct Operand {
  Shape shape;
  Strides place;
  Buffer<T> buffer;

  Operand(const Shape& shape, Layout layout, Random& random, double scale = 1.0) : shape(shape), place(strides(shape, layout)), buffer(place.span, place.shift) {
    for (Index i = 0; i < place.span; ++i) buffer[i] = rounded<T>(random.normal(scale));
  }
  View view() const {
    View view{};
    view.data = buffer.data();
    for (std::size_t axis = 0; axis < shape.size(); ++axis) view.stride[axis] = place.stride[axis];
    return view;
  }
  Index offset(const std::vector<Index>& at) const {
    Index offset = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) offset += at[axis] * place.stride[axis];
    return offset;
  }
  double at(const std::vector<Index>& where) const { return number(buffer[offset(where)]); }
  double at(Index i) const {
    Index offset = 0;
    for (std::size_t axis = shape.size(); axis-- > 0; i /= shape[axis]) offset += i % shape[axis] * place.stride[axis];
    return number(buffer[offset]);
  }
};

// What is being tested, for messages.
struct Context {
  std::string text;
};
extern Context context;
extern int failures;
void fail(const std::string& what);

// Runs a kernel; a fault is a failure.
struct Extent {
  unsigned x = 1, y = 1, z = 1;
};
void run(const std::string& name, Extent grid, Extent block, const void* args);
template <class Args>
void launch(const std::string& name, Extent grid, Extent block, const Args& args) {
  run(name, grid, block, &args);
}

// out[i] must be want(i) within tolerance · unit(i).
struct Wanted {
  double value, unit;
};
template <class T, class Want>
void agree(const char* what, const Buffer<T>& out, Want want, double tolerance = TOLERANCE<T>) {
  if (!out.intact()) fail(std::string(what) + ": the guards around the buffer were written to");
  for (Index i = 0; i < out.size(); ++i) {
    const Wanted wanted = want(i);
    const double found = number(out[i]);
    const bool fine = std::isnan(wanted.value) ? std::isnan(found)
                      : std::isinf(wanted.value) ? found == wanted.value
                                                 : std::fabs(found - wanted.value) <= tolerance * wanted.unit + 1e-34;
    if (!fine) {
      char text[200];
      std::snprintf(text, sizeof text, "%s: element %lld is %.9g where %.9g is expected (unit %.3g)", what, i, found, wanted.value, wanted.unit);
      return fail(text);
    }
  }
}

// A test of one subject. Declared by TEST; run in the order of declaration.
struct Test {
  Test(const char* subject, const char* name, void (*body)());
  const char* subject;
  const char* name;
  void (*body)();
};
#define TEST(subject, name)                                         \
  static void subject##_##name();                                   \
  static const judge::Test subject##_##name##_test(#subject, #name, subject##_##name); \
  static void subject##_##name()

// Shapes of every rank, around the sizes of vectors, warps and blocks.
extern const std::vector<Shape> SHAPES;

} // namespace judge
