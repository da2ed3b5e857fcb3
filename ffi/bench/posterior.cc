// The time of one posterior draw for each of n states, through C++ and in ONNX Runtime running the same network on the same threads; the Rust
// side of the comparison is posterior.rs, and run.py runs both. Prints lines "C++ n SECONDS" or "ONNX n SECONDS".
//
//   posterior MODEL THREADS                                  times the library
//   posterior MODEL THREADS MODEL.onnx LIBONNXRUNTIME.so     times ONNX Runtime, in a process of its own, where its threads are in nobody's way
//   posterior MODEL                                          writes a fresh model to be measured: 4 hidden layers of 256, two numbers a sample
#include <mfm/mfm.hpp>

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

using numbers = std::vector<float>;
constexpr double t = 0.4;

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// ONNX Runtime's C interface. Its table of functions only ever grows, so the places of these are fixed.
class onnx {
 public:
  onnx(const char* library, const char* model, int threads) {
    void* handle = dlopen(library, RTLD_NOW);
    if (!handle) std::fprintf(stderr, "%s\n", dlerror()), std::exit(1);
    struct base {
      const void* const* (*get)(std::uint32_t);
    };
    table_ = reinterpret_cast<const base* (*)()>(dlsym(handle, "OrtGetApiBase"))()->get(16);
    void *environment = nullptr, *options = nullptr;
    check(at<void*(int, const char*, void**)>(3)(3, "bench", &environment));
    check(at<void*(void**)>(10)(&options));
    check(at<void*(void*, int)>(23)(options, 99));       // All optimisations.
    check(at<void*(void*, int)>(24)(options, threads));  // Within an operation.
    check(at<void*(void*, int)>(25)(options, 1));        // Between operations.
    check(at<void*(void*, const char*, void*, void**)>(7)(environment, model, options, &session_));
    check(at<void*(int, int, void**)>(69)(1, 0, &memory_));
  }

  void* tensor(float* data, std::vector<std::int64_t> shape, std::size_t elements) {
    void* value = nullptr;
    check(at<void*(void*, void*, std::size_t, const std::int64_t*, std::size_t, int, void**)>(49)(
        memory_, data, elements * sizeof(float), shape.data(), shape.size(), 1, &value));
    return value;
  }

  void run(void* const (&inputs)[3], void* output) {
    static const char* const names[] = {"noise", "state", "t"};
    static const char* const results[] = {"draw"};
    check(at<void*(void*, void*, const char* const*, void* const*, std::size_t, const char* const*, std::size_t, void**)>(9)(
        session_, nullptr, names, inputs, 3, results, 1, &output));
  }

 private:
  template <class F>
  F* at(int place) const {
    return reinterpret_cast<F*>(const_cast<void*>(table_[place]));
  }
  void check(void* status) const {
    if (status) std::fprintf(stderr, "ONNX Runtime: %s\n", at<const char*(void*)>(2)(status)), std::exit(1);
  }
  const void* const* table_ = nullptr;
  void *session_ = nullptr, *memory_ = nullptr;
};

template <class Work>
double time_once(std::size_t calls, Work&& work) {
  const double start = seconds();
  for (std::size_t i = 0; i < calls; ++i) work();
  return (seconds() - start) / static_cast<double>(calls);
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 2) return mfm::model::create(mfm::architecture(2)).save(arguments[1]), 0;
  if (count != 3 && count != 5) return std::fputs("usage: posterior MODEL [THREADS [MODEL.onnx LIBONNXRUNTIME.so]]\n", stderr), 2;
  const int threads = std::atoi(arguments[2]);
  const mfm::model model = mfm::model::load(arguments[1]);
  const std::size_t d = model.dimension();
  mfm::session_options how;
  how.threads = count == 3 ? static_cast<std::size_t>(threads) : 1;
  mfm::session session(model, how);
  onnx* other = count == 3 ? nullptr : new onnx(arguments[4], arguments[3], threads);
  for (std::size_t n : {1, 16, 256}) {
    numbers states(n * d, 0.3f), noise(n * d), velocity(n * d), draws(n * d), theirs(n * d);
    mfm::posterior_options options;
    options.time = t;
    for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<float>(std::sin(1.7 * static_cast<double>(i)));
    float time[1] = {static_cast<float>(t)};
    const std::int64_t rows = static_cast<std::int64_t>(n), columns = static_cast<std::int64_t>(d);
    void *inputs[3] = {}, *output = nullptr;
    if (other) {
      inputs[0] = other->tensor(noise.data(), {rows, columns}, n * d);
      inputs[1] = other->tensor(states.data(), {rows, columns}, n * d);
      inputs[2] = other->tensor(time, {1}, 1);
      output = other->tensor(theirs.data(), {rows, columns}, n * d);
      other->run(inputs, output);
      // The same network: the same noise through both.
      mfm::query question;
      question.t = t;
      session.velocity(question, noise, states, velocity);
      float worst = 0;
      for (std::size_t i = 0; i < noise.size(); ++i) worst = std::max(worst, std::abs(noise[i] + velocity[i] - theirs[i]));
      std::printf("difference %zu %.2g\n", n, static_cast<double>(worst));
    }
    const auto draw = [&] {
      if (other) other->run(inputs, output);
      else session.posterior(states, draws, options);
    };
    const std::size_t calls = std::max<std::size_t>(1, static_cast<std::size_t>(0.01 / time_once(20, draw)));
    std::vector<double> each;
    for (int round = 0; round < 60; ++round) each.push_back(time_once(calls, draw));
    std::printf("%s %zu %.9f\n", other ? "ONNX" : "C++", n, median(each));
  }
  return 0;
}
