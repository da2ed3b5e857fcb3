// A model on cuda:0 gives what it gives on the CPU, up to rounding. The driver is whichever the system's loader finds: libcuda-emulated.so under
// the names of NVIDIA's, in a folder on LD_LIBRARY_PATH, or a GPU's own. Skipped without.
//
//   cuda
#include "dlpack.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <thread>

namespace {

using numbers = std::vector<float>;

/// The largest difference, relative to 1 and more.
float apart(const numbers& a, const numbers& b) {
  float worst = a.size() == b.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
    worst = std::max(worst, std::isfinite(b[i]) ? std::abs(a[i] - b[i]) / (1 + std::abs(a[i])) : INFINITY);
  return worst;
}

/// What a session gives, call by call.
std::vector<std::pair<const char*, numbers>> results(mfm::session& session, std::size_t dimension) {
  std::vector<std::pair<const char*, numbers>> all;
  const std::size_t count = 6;
  const auto keep = [&](const char* what, const mfm::status& outcome, const numbers& values) {
    expect(outcome, MFM_OK, what);
    all.emplace_back(what, values);
  };
  numbers samples(count * dimension), draws(3 * samples.size()), values(count), gradients(samples.size());
  mfm::sample_options by_steps;
  by_steps.draw.seed = 5;
  by_steps.steps = 2;
  keep("samples", session.try_sample(samples, by_steps), samples);
  // The same states everywhere: later results do not inherit earlier roundings.
  numbers states(samples.size());
  for (std::size_t i = 0; i < states.size(); ++i) states[i] = 4 * static_cast<float>(std::sin(1.7 * static_cast<double>(i)));
  mfm::posterior_options posterior;
  posterior.time = 0.4;
  posterior.draws = 3;
  keep("draws of posteriors", session.try_posterior(states, draws, posterior), draws);
  mfm::query query;
  query.t = 0.3;
  keep("velocities", session.try_velocity(query, states, states, gradients), gradients);
  mfm::value_options value;
  value.time = 0.4;
  value.draws = 4;
  keep("values", session.try_value(target(), states, values, value), values);
  keep("gradients of values", session.try_value_and_gradient(target(), states, values, gradients, value), gradients);
  mfm::steer_options steer;
  steer.steps = 3;
  steer.draws = 4;
  for (auto [estimator, what] : {std::pair{MFM_GRADIENT_FREE, "steered without gradients"}, std::pair{MFM_GRADIENT, "steered by gradients"}}) {
    steer.estimator = estimator;
    keep(what, session.try_steer(target(), samples, steer), samples);
  }
  return all;
}

/// On the GPU in other ways: up to their roundings what f32 gives there, as CUDA graphs to the bit. In bf16 there are no tensors of f32.
void kept_otherwise(const std::vector<std::pair<const char*, numbers>>& expected, std::size_t dimension) {
  struct choice {
    const char* name;
    mfm_precision precision;
    std::uint32_t graphs;
    float most;
  };
  for (const choice& way : {choice{"tf32", MFM_TF32, 0, 1e-2f}, choice{"bf16", MFM_BF16, 0, 0.1f}, choice{"graphs", MFM_F32, 1, 0}}) {
    mfm::model model;
    expect(mfm::model::try_load(MODEL, model, kept(way.precision, way.graphs, "cuda:0")), MFM_OK, way.name);
    mfm::session session = a_session(model);
    const auto found = results(session, dimension);
    CHECK(found.size() == expected.size());
    float worst = 0;
    for (std::size_t i = 0; i < found.size(); ++i) worst = std::max(worst, apart(expected[i].second, found[i].second));
    std::printf("    %-42s %.1e\n", way.name, static_cast<double>(worst));
    CHECK(worst <= way.most);
    DLManagedTensorVersioned* tensor = nullptr;
    expect(session.try_sample_dlpack(3, tensor), way.precision == MFM_BF16 ? MFM_UNSUPPORTED : MFM_OK, "tensors of f32");
    if (tensor) tensor->deleter(tensor);
  }
}

/// The driver's functions, as a host of CUDA's calls them.
struct driver {
  using address = unsigned long long;
  void* library = dlopen("libcuda.so.1", RTLD_NOW);

  template <class F>
  F* function(const char* name) const {
    return reinterpret_cast<F*>(library ? dlsym(library, name) : nullptr);
  }
  int (*stream_create)(void**, unsigned, int) = function<int(void**, unsigned, int)>("cuStreamCreateWithPriority");
  int (*stream_destroy)(void*) = function<int(void*)>("cuStreamDestroy_v2");
  int (*stream_synchronize)(void*) = function<int(void*)>("cuStreamSynchronize");
  int (*allocate)(address*, std::size_t, void*) = function<int(address*, std::size_t, void*)>("cuMemAllocAsync");
  int (*release)(address, void*) = function<int(address, void*)>("cuMemFreeAsync");
  int (*upload)(address, const void*, std::size_t, void*) = function<int(address, const void*, std::size_t, void*)>("cuMemcpyHtoDAsync_v2");
  int (*download)(void*, address, std::size_t, void*) = function<int(void*, address, std::size_t, void*)>("cuMemcpyDtoHAsync_v2");
  int (*retain)(void**, int) = function<int(void**, int)>("cuDevicePrimaryCtxRetain");
  int (*set_context)(void*) = function<int(void*)>("cuCtxSetCurrent");
  int (*get_context)(void**) = function<int(void**)>("cuCtxGetCurrent");
  /// Has an emulated driver do work as late as it may.
  void (*be_lazy)(int) = function<void(int)>("emulator_be_lazy");
};

/// Tensors in and out on a GPU, in the order of a stream of the host's, and without one.
void exchange(const mfm::model& gpu, mfm::session& without) {
  const driver cuda;
  // As the runtime does for a host.
  void* context = nullptr;
  CHECK(cuda.retain && cuda.set_context && cuda.retain(&context, 0) == 0 && cuda.set_context(context) == 0);
  CHECK(cuda.stream_create && cuda.upload && cuda.download && cuda.allocate && cuda.release && cuda.stream_synchronize && cuda.stream_destroy);
  void* stream = nullptr;
  driver::address memory = 0;
  const std::size_t bytes = 2 * 64 * sizeof(float);
  CHECK(cuda.stream_create(&stream, 0, 0) == 0 && cuda.allocate(&memory, bytes + sizeof(float), stream) == 0);
  mfm::session with = a_session(gpu, {1, stream, {}, {}});
  numbers values(128), others(128), expected(128), of_others(128), found(128), samples(3 * 64), steered(3 * 64);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = 4 * static_cast<float>(std::sin(1.7 * static_cast<double>(i)));
    others[i] = 1 - values[i];
  }
  CHECK(with.try_posterior(values, expected).ok() && with.try_posterior(others, of_others).ok() && with.try_sample(samples).ok() && with.try_steer(target(), steered).ok());

  const auto on_gpu = [](const DLManagedTensorVersioned* tensor, std::int64_t rows) {
    const DLTensor& view = tensor->dl_tensor;
    return view.device.device_type == 2 && view.device.device_id == 0 && view.ndim == 2 && view.shape[0] == rows && view.shape[1] == 64 &&
           view.strides[0] == 64 && view.strides[1] == 1 && view.dtype.code == 2 && view.dtype.bits == 32 && view.byte_offset == 0;
  };
  const auto address = [](const DLManagedTensorVersioned* tensor) { return reinterpret_cast<driver::address>(tensor->dl_tensor.data); };
  for (int lazy : {0, 1}) {
    if (lazy == 1 && !cuda.be_lazy) break;  // A GPU is as late as it likes.
    if (cuda.be_lazy) cuda.be_lazy(lazy);
    // The order of the stream must do. In between, the host's memory and the library's are used again. The host waits at the end alone, when the
    // library's work is all to be done; but the library has been made to do it before the host's, at the second time.
    numbers again(128);
    for (numbers* result : {&found, &again}) {
      CHECK(cuda.upload(memory + sizeof(float), (result == &found ? values : others).data(), bytes, stream) == 0);
      auto* given = new states(reinterpret_cast<void*>(memory), {2, 0});
      given->tensor.dl_tensor.byte_offset = sizeof(float);
      deleted = 0;
      DLManagedTensorVersioned* out = nullptr;
      expect(with.try_posterior_dlpack(&given->tensor, out), MFM_OK, lazy ? "in and out, as late as may be" : "in and out");
      CHECK(deleted == 1 && out && on_gpu(out, 2));
      numbers unrelated(64);
      if (result == &again) CHECK(with.try_sample(unrelated).ok());
      static const numbers zeros(128);
      CHECK(cuda.upload(memory + sizeof(float), zeros.data(), bytes, stream) == 0);
      CHECK(cuda.download(result->data(), address(out), bytes, stream) == 0);
      out->deleter(out);
    }
    CHECK(cuda.stream_synchronize(stream) == 0);
    CHECK(found == expected && again == of_others);

    // Without a stream all is done when a call returns, and a tensor outlives its session and its model.
    CHECK(cuda.upload(memory, values.data(), bytes, stream) == 0 && cuda.stream_synchronize(stream) == 0);
    DLManagedTensorVersioned *drawn = nullptr, *made = nullptr, *aimed = nullptr;
    {
      mfm::model_options on_cuda;
      on_cuda.device = "cuda:0";
      mfm::model shorter;
      expect(mfm::model::try_load(MODEL, shorter, on_cuda), MFM_OK, "a model that is gone before its tensors");
      mfm::session short_lived = a_session(shorter);
      expect(short_lived.try_posterior_dlpack(&(new states(reinterpret_cast<void*>(memory), {2, 0}))->tensor, drawn), MFM_OK, "draws");
      expect(short_lived.try_sample_dlpack(3, made), MFM_OK, "samples");
      expect(short_lived.try_steer_dlpack(target(), 3, aimed), MFM_OK, "steered samples");
    }
    numbers more(3 * 64), most(3 * 64);
    CHECK(on_gpu(drawn, 2) && on_gpu(made, 3) && on_gpu(aimed, 3));
    CHECK(cuda.download(found.data(), address(drawn), bytes, stream) == 0 && cuda.download(more.data(), address(made), more.size() * 4, stream) == 0 &&
          cuda.download(most.data(), address(aimed), most.size() * 4, stream) == 0 && cuda.stream_synchronize(stream) == 0);
    CHECK(found == expected && more == samples && most == steered);
    for (DLManagedTensorVersioned* tensor : {drawn, made, aimed}) tensor->deleter(tensor);
  }
  if (cuda.be_lazy) cuda.be_lazy(0);

  for (mfm::session* session : {&with, &without}) {
    refuse_all(*session, reinterpret_cast<void*>(memory), {2, 0}, {2, 1});
    refused(*session, MFM_DLPACK, "a tensor on the CPU", values.data(), {1, 0}, [](states&) {});
  }
  with = {};
  CHECK(cuda.release(memory, stream) == 0 && cuda.stream_synchronize(stream) == 0 && cuda.stream_destroy(stream) == 0);
}

}  // namespace

/// What is current on a thread of the host's stays so: over calls, in callbacks, and where things are closed. A new thread has none.
void leaves_the_context(std::size_t dimension) {
  std::thread([dimension] {
    const driver cuda;
    CHECK(cuda.get_context);
    const auto is_there = [&cuda] {
      void* context = nullptr;
      return cuda.get_context(&context) != 0 || context;
    };
    mfm::model_options on_cuda;
    on_cuda.device = "cuda:0";
    numbers samples(6 * dimension);
    {
      mfm::model model;
      expect(mfm::model::try_load(MODEL, model, on_cuda), MFM_OK, "a model of a thread");
      CHECK(!is_there());
      mfm::session session = a_session(model);
      expect(session.try_sample(samples), MFM_OK, "samples of a thread");
      CHECK(!is_there());
      std::size_t asked = 0;
      const auto reward = [&](mfm::batch, mfm::span<float> r) {
        ++asked;
        CHECK(!is_there());
        for (float& value : r) value = 0;
      };
      mfm::steer_options steer;
      steer.estimator = MFM_RESAMPLED;
      steer.steps = 2;
      expect(session.try_steer(reward, samples, steer), MFM_OK, "steering of a thread");
      CHECK(asked > 0 && !is_there());
    }
    CHECK(!is_there());
  }).join();
}

int main() {
  mfm::model_options on_cuda;
  on_cuda.device = "cuda:0";
  mfm::model gpu;
  const mfm::status opened = mfm::model::try_load(MODEL, gpu, on_cuda);
  if (!opened.ok()) {
    expect(opened, MFM_DEVICE, "a machine without a GPU");
    std::printf("skipped\n");
    return failures == 0 ? 77 : 1;
  }
  const mfm::model cpu = the_model();
  const std::size_t dimension = gpu.dimension();
  CHECK(std::string(gpu.info().device) == "cuda:0" && gpu.info().parameters == cpu.info().parameters);
  const auto close = [](const char* what, const numbers& a, const numbers& b) {
    const float worst = apart(a, b);
    std::printf("    %-42s %.1e\n", what, static_cast<double>(worst));
    CHECK(worst < 1e-3f);
  };
  mfm::session here = a_session(cpu), there = a_session(gpu);
  const auto ours = results(here, dimension), theirs = results(there, dimension);
  CHECK(ours.size() == theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) close(ours[i].first, ours[i].second, theirs[i].second);

  kept_otherwise(theirs, dimension);

  // The same file comes back, and goes on on the CPU.
  CHECK(gpu.save_memory() == cpu.save_memory());

  // Threads share a model, and get what one gets alone.
  std::vector<numbers> shared(4);
  std::vector<std::thread> threads;
  for (numbers& samples : shared)
    threads.emplace_back([&gpu, &samples, dimension] {
      samples.resize(6 * dimension);
      mfm::sample_options options;
      options.draw.seed = 5;
      options.steps = 2;
      CHECK(a_session(gpu).try_sample(samples, options).ok());
    });
  for (std::thread& thread : threads) thread.join();
  for (const numbers& samples : shared) CHECK(samples == theirs[0].second);

  // Training from the same fresh network, and a callback that stops a call on the device.
  mfm::architecture form(dimension);
  form.width = 16;
  form.depth = 2;
  mfm::training_options training;
  training.steps = 5;
  training.batch = 8;
  numbers a(6 * dimension), b(a.size());
  for (auto [device, samples] : {std::pair{"cpu", &a}, std::pair{"cuda:0", &b}}) {
    mfm::model fresh, trained;
    form.device = device;
    expect(mfm::model::try_create(form, ours[0].second, fresh), MFM_OK, "a fresh model");
    expect(a_session(fresh).try_train(ours[0].second, trained, training), MFM_OK, "training");
    CHECK(a_session(trained).try_sample(*samples).ok());
  }
  close("after training", a, b);
  mfm::session stopped = a_session(gpu, {1, nullptr, [](const mfm_progress&) { return false; }, {}});
  expect(stopped.try_sample(a), MFM_CANCELLED, "a cancelled call");
  expect(there.try_value([](mfm::batch, mfm::span<float> r) { r[0] = NAN; }, ours[0].second, b), MFM_LENGTH, "too much room for values");

  exchange(gpu, there);
  leaves_the_context(dimension);
  return finish();
}
