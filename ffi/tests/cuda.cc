// A model on cuda:0 gives what it gives on the CPU, up to rounding. The driver is whichever the system's loader finds: libcuda-emulated.so under
// the names of NVIDIA's, in a folder on LD_LIBRARY_PATH, or a GPU's own. Skipped without.
//
//   cuda
#include "check.hpp"

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

}  // namespace

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

  // What CUDA does not do.
  mfm::session other;
  expect(mfm::session::try_open(gpu, other, {1, &a, {}, {}}), MFM_UNSUPPORTED, "a stream of the host's");
  DLManagedTensorVersioned* tensor = nullptr;
  expect(there.try_sample_dlpack(3, tensor), MFM_UNSUPPORTED, "DLPack on CUDA");
  CHECK(tensor == nullptr);
  return finish();
}
