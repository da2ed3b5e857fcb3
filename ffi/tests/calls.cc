// What every call is for: the right numbers in the right places. Compiles with and without exceptions.
#include "check.hpp"

#include <cmath>
#include <cstring>

namespace {

using numbers = std::vector<float>;
constexpr std::size_t dimension = 64;

bool finite(const numbers& values) {
  for (float value : values)
    if (!std::isfinite(value)) return false;
  return true;
}

void models() {
  const mfm::model model = the_model();
  const mfm_model_info info = model.info();
  CHECK(info.dimension == dimension && info.labels == 0 && info.parameters == 42112 && info.training_steps == 4000);
  CHECK(std::string(info.path) == "linear" && std::string(info.device) == "cpu");
  CHECK(!info.guidance && info.guidance_count == 0);
  CHECK(mfm_abi_version() == MFM_ABI_VERSION && std::strlen(mfm_version()) >= 5);

  std::vector<unsigned char> bytes;
  CHECK(model.try_save_memory(bytes).ok() && bytes.size() > 4 * info.parameters);
  CHECK(model.try_save("copy.mfm").ok());
  mfm::model from_memory, from_file;
  CHECK(mfm::model::try_load_memory(bytes, from_memory).ok() && mfm::model::try_load("copy.mfm", from_file).ok());
  numbers a(dimension), b(dimension), c(dimension);
  CHECK(a_session(model).try_sample(a).ok() && a_session(from_memory).try_sample(b).ok() && a_session(from_file).try_sample(c).ok());
  CHECK(a == b && a == c);

  // An older host's description is shorter; what it does not know is left alone.
  mfm_model_info older{};
  older.size = offsetof(mfm_model_info, labels);
  older.labels = 77;
  CHECK(!mfm_model_describe(model.get(), &older) && older.dimension == dimension && older.labels == 77);
}

void draws() {
  const mfm::model model = the_model();
  mfm::session one = a_session(model), three = a_session(model, {3, nullptr, {}, {}});
  for (mfm_method method : {MFM_METHOD_MAP, MFM_METHOD_REFINEMENT, MFM_METHOD_ODE, MFM_METHOD_SDE}) {
    mfm::sample_options options;
    options.method = method;
    options.steps = 4;
    numbers a(700 * dimension), b(a.size()), c(a.size());
    CHECK(one.try_sample(a, options).ok() && three.try_sample(b, options).ok());
    CHECK(finite(a) && a == b);
    options.draw.seed = 1;
    CHECK(one.try_sample(c, options).ok() && a != c);
    options.draw.seed = 0;
    options.draw.stream = 1;
    CHECK(one.try_sample(c, options).ok() && a != c);
  }
  // At t = 0 the state is forgotten; one step of the map from noise is a draw.
  numbers states(2 * dimension), draws(6 * dimension), others(draws.size());
  mfm::posterior_options posterior;
  posterior.time = 0;
  posterior.draws = 3;
  CHECK(one.try_posterior(states, draws, posterior).ok() && finite(draws));
  // At t near 1 every draw is near the state.
  posterior.time = 0.999;
  for (auto& value : states) value = 3;
  CHECK(one.try_posterior(states, draws, posterior).ok());
  for (float draw : draws) CHECK(std::abs(draw - 3) < 0.3f);
  CHECK(three.try_posterior(states, others, posterior).ok() && draws == others);

  // X_{s,u}(x) = x + (u - s) v; at t = 0 from noise it is the sample of that noise. A velocity of two states with three rows each.
  mfm::query question;
  numbers x(6 * dimension, 0.5f), velocity(x.size());
  CHECK(one.try_velocity(question, x, states, velocity).ok() && finite(velocity));
  for (std::size_t k = 0; k < dimension; ++k) CHECK(velocity[k] == velocity[5 * dimension + k]);
}

void values() {
  const mfm::model model = the_model();
  mfm::session session = a_session(model);
  mfm::value_options options;
  options.draws = 64;
  options.time = 0.6;
  numbers states(3 * dimension), value(3), again(3), gradient(states.size());
  for (std::size_t i = 0; i < states.size(); ++i) states[i] = 3 + 3 * std::sin(static_cast<float>(i));
  CHECK(session.try_value(target(), states, value, options).ok());
  CHECK(session.try_value_and_gradient(target(), states, again, gradient, options).ok());
  CHECK(value[0] != value[1]);
  for (int i = 0; i < 3; ++i) CHECK(std::abs(value[i] - again[i]) < 1e-5f);
  // Along a direction, with the same noise on both sides: float32 leaves about 1e-7 V/h, the second difference about h^2.
  const float h = 0.25f;
  for (std::size_t i = 0; i < 3; ++i) {
    numbers up = states, down = states, above(3), below(3);
    float slope = 0;
    for (std::size_t k = 0; k < dimension; ++k) {
      const float direction = (k % 3 == 0 ? 1.0f : -0.5f);
      up[i * dimension + k] += h * direction;
      down[i * dimension + k] -= h * direction;
      slope += direction * gradient[i * dimension + k];
    }
    CHECK(session.try_value(target(), up, above, options).ok() && session.try_value(target(), down, below, options).ok());
    const float measured = (above[i] - below[i]) / (2 * h);
    std::printf("slope of the value: %.6f by gradient, %.6f by differences\n", slope, measured);
    CHECK(std::abs(slope - measured) < 0.02f * std::abs(slope) + 1e-4f);
  }
}

/// A state all of whose draws are forbidden has the value -infinity and no effective draw; the others have theirs.
void forbidden() {
  mfm::session session = a_session(the_model());
  mfm::value_options options;
  options.draws = 16;
  numbers states(3 * dimension), all(3), gradients(states.size()), value(3), again(3), others(states.size());
  for (std::size_t i = 0; i < states.size(); ++i) states[i] = 3 * std::sin(static_cast<float>(i));
  // The draws of a state follow one another: the first 16 are those of the first.
  const auto never_the_first = [](mfm::batch x, mfm::span<float> values, mfm::span<float> slopes) {
    target()(x, values, slopes);
    for (std::size_t i = 0; i < 16; ++i) values[i] = -INFINITY;
  };
  CHECK(session.try_value_and_gradient(target(), states, all, gradients, options).ok());
  numbers sizes(3), sizes_again(3);
  options.effective_sample_sizes = sizes.data();
  CHECK(session.try_value(never_the_first, states, value, options).ok());
  options.effective_sample_sizes = sizes_again.data();
  CHECK(session.try_value_and_gradient(never_the_first, states, again, others, options).ok() && finite(others));
  CHECK(value[0] == -INFINITY && again[0] == -INFINITY);
  CHECK(sizes[0] == 0 && sizes_again[0] == 0);
  for (std::size_t i = 1; i < 3; ++i) CHECK(std::abs(value[i] - all[i]) < 1e-5f && again[i] == all[i]);
  for (std::size_t i = 1; i < 3; ++i) CHECK(sizes[i] >= 1 && sizes[i] <= 16 && std::abs(sizes_again[i] - sizes[i]) < 1e-3f);
  for (std::size_t i = dimension; i < others.size(); ++i) CHECK(others[i] == gradients[i]);
}

/// Of so many draws that each state is a block of its own, the progress callback is told of each block, with a gradient or without, and may stop there. Nothing
/// of a velocity is told.
void progress_of_values() {
  std::size_t told = 0, stop = 0;
  mfm::session_options how;
  how.progress = [&](const mfm_progress& progress) {
    CHECK(progress.step == ++told && progress.steps == 3);
    return told != stop;
  };
  mfm::session session = a_session(the_model(), how);
  numbers states(3 * dimension, 1.0f), value(3, 77.0f), gradients(states.size(), 77.0f);
  mfm::value_options options;
  options.draws = 10000;
  stop = 2;
  expect(session.try_value_and_gradient(target(), states, value, gradients, options), MFM_CANCELLED, "a gradient is cancelled");
  CHECK(told == 2 && value == numbers(3, 77.0f) && gradients == numbers(gradients.size(), 77.0f));
  told = stop = 0;
  CHECK(session.try_value_and_gradient(target(), states, value, gradients, options).ok() && told == 3);
  told = 0;
  CHECK(session.try_value(target(), states, value, options).ok() && told == 3);
  CHECK(session.try_velocity(mfm::query(), states, states, gradients).ok() && told == 3);
  // A reward that is not finite is named by its draw and its state, of later blocks too.
  std::size_t block = told = 0;
  const auto broken = [&](mfm::batch x, mfm::span<float> v) {
    for (std::size_t i = 0; i < x.size(); ++i) v[i] = block == 2 && i == 7 ? std::nanf("") : 0;
    ++block;
  };
  const mfm::status outcome = session.try_value(broken, states, value, options);
  CHECK(outcome.code() == MFM_NOT_FINITE && std::strstr(outcome.message(), "draw 7 of state 2"));
}

float mean_reward(const numbers& samples) {
  numbers rewards(samples.size() / dimension);
  target()(mfm::batch(samples.data(), rewards.size(), dimension), rewards, {});
  float sum = 0;
  for (float reward : rewards) sum += reward;
  return sum / static_cast<float>(rewards.size());
}

void steering() {
  const mfm::model model = the_model();
  struct seen {
    std::size_t steps = 0;
    mfm_progress last{};
    int lines = 0;
  } seen;
  mfm::session_options how;
  how.progress = [&](const mfm_progress& told) {
    CHECK(told.size == sizeof told && told.step >= 1 && told.step <= told.steps);
    ++seen.steps;
    seen.last = told;
    return true;
  };
  how.log = [&](mfm_log_level, const char* line) { seen.lines += std::strlen(line) > 10; };
  mfm::session session = a_session(model, how), three = a_session(model, {3, nullptr, {}, {}});
  for (std::uint32_t estimator = MFM_UNSTEERED; estimator <= MFM_VALUE_SEQUENTIAL_MONTE_CARLO; ++estimator) {
    mfm::steer_options options;
    options.estimator = estimator;
    options.steps = 10;
    options.draws = makes_draws(estimator) ? 8 : 0;
    if (estimator <= MFM_GRADIENT_FREE || estimator == MFM_SEQUENTIAL_MONTE_CARLO) options.start = 0.05;
    numbers free(40 * dimension), a(free.size()), b(free.size());
    const auto indifferent = [](mfm::batch, mfm::span<float> values, mfm::span<float> gradients) {
      for (float& value : values) value = 0;
      for (float& slope : gradients) slope = 0;
    };
    const auto strong = [](mfm::batch x, mfm::span<float> values, mfm::span<float> gradients) {
      target()(x, values, gradients);
      for (float& value : values) value *= 8;
      for (float& slope : gradients) slope *= 8;
    };
    seen = {};
    CHECK(session.try_steer(strong, a, options).ok() && three.try_steer(strong, b, options).ok());
    CHECK(finite(a) && a == b);
    // The best of several samples tells of blocks of samples: these are one.
    const std::size_t steps = estimator == MFM_BEST_OF_N ? 1 : 10;
    CHECK(seen.steps >= steps && seen.last.step == steps && seen.last.steps == steps);
    CHECK(static_cast<std::size_t>(seen.lines) > steps && (estimator != MFM_BEST_OF_N || finite({static_cast<float>(seen.last.best_reward)})));
    CHECK(three.try_steer(indifferent, free, options).ok());
    std::printf("estimator %u: mean reward %.3f, without steering %.3f\n", estimator, mean_reward(a), mean_reward(free));
    CHECK(estimator == MFM_UNSTEERED ? a == free : mean_reward(a) > mean_reward(free));
  }
  mfm::search_options options;
  numbers samples(10 * dimension), rewards(10), check(10);
  CHECK(session.try_search(target(), samples, rewards, options).ok() && finite(samples));
  target()(mfm::batch(samples.data(), 10, dimension), check, {});
  for (int i = 0; i < 10; ++i) CHECK(std::abs(rewards[i] - check[i]) < 1e-5f);
  CHECK(seen.last.best_reward >= rewards[0]);
}

/// Whoever draws by the map of a model whose jumps mean nothing is warned in the log, once a call; nobody else is.
void warnings(const mfm::model& flow_model, bool expected) {
  int told = 0;
  mfm::session_options how;
  how.log = [&](mfm_log_level level, const char* line) { told += level == MFM_LOG_INFO && std::strncmp(line, "warning: the model was ", 23) == 0; };
  mfm::session session = a_session(flow_model, how);
  const auto warns = [&](const mfm::status& outcome, bool by_jumps) {
    CHECK(outcome.ok() && told == (by_jumps && expected));
    told = 0;
  };
  numbers samples(2 * flow_model.dimension()), values(2), gradients(samples.size());
  for (mfm_method method : {MFM_METHOD_MAP, MFM_METHOD_REFINEMENT, MFM_METHOD_ODE, MFM_METHOD_SDE}) {
    mfm::sample_options options;
    options.method = method;
    warns(session.try_sample(samples, options), method == MFM_METHOD_MAP || method == MFM_METHOD_REFINEMENT);
  }
  warns(session.try_posterior(numbers(samples.size()), samples), true);
  warns(session.try_value(target(), numbers(samples.size()), values), true);
  warns(session.try_value_and_gradient(target(), numbers(samples.size()), values, gradients), true);
  for (std::uint32_t estimator = MFM_UNSTEERED; estimator <= MFM_VALUE_SEQUENTIAL_MONTE_CARLO; ++estimator) {
    mfm::steer_options options;
    options.estimator = estimator;
    options.steps = 2;
    warns(session.try_steer(target(), samples, options), makes_draws(estimator));
  }
  warns(session.try_search(target(), samples, values), true);
  mfm::fine_tuning_options tuning;
  tuning.steps = 1;
  tuning.batch = 8;
  mfm::model tuned, following;
  warns(session.try_fine_tune(target(), tuned, tuning), true);
  tuning.follow = 1;
  warns(session.try_fine_tune(target(), following, tuning), true);
  CHECK(tuned.info().jumps == MFM_JUMPS_LEFT_BEHIND && following.info().jumps == MFM_JUMPS_TRAINED);
}

/// What a model was trained by is told as it was, and steps add up.
void provenance(const mfm::model& trained, const numbers& data) {
  const char* words[] = {"semigroup", "mean-flow", "eulerian", "lagrangian", "flow model"};
  mfm::training_options options;
  options.steps = 2;
  options.batch = 8;
  for (options.consistency = MFM_SEMIGROUP; options.consistency <= MFM_NO_CONSISTENCY; ++options.consistency) {
    mfm::model further;
    CHECK(a_session(trained).try_train(data, further, options).ok());
    CHECK(std::string(further.info().objective).find(words[options.consistency]) != std::string::npos);
    CHECK(further.info().training_steps == trained.info().training_steps + 2);
    warnings(further, options.consistency == MFM_NO_CONSISTENCY);
    CHECK(further.info().jumps == (options.consistency == MFM_NO_CONSISTENCY ? MFM_JUMPS_UNTRAINED : MFM_JUMPS_TRAINED));
  }
}

void training() {
  // Two labelled points; after some steps samples with a label lie near their point.
  numbers data;
  std::vector<std::size_t> labels;
  for (std::size_t i = 0; i < 200; ++i) {
    labels.push_back(i % 2);
    const float wobble = 0.05f * std::sin(static_cast<float>(7 * i));
    data.push_back(i % 2 == 0 ? -1 + wobble : 1 - wobble);
    data.push_back(wobble);
  }
  mfm::architecture form(2);
  form.width = 32;
  form.depth = 2;
  form.labels = 2;
  mfm::model fresh, trained, again, tuned;
  CHECK(mfm::model::try_create(form, data, fresh).ok());
  mfm::training_options options;
  options.steps = 300;
  options.batch = 128;
  options.average = 0.97;
  options.learning_rate = 5e-3;
  double loss = 0, first = 0;
  mfm::session_options how;
  how.progress = [&](const mfm_progress& told) {
    loss = told.loss;
    if (told.step == 1) first = told.loss;
    return true;
  };
  mfm::session session = a_session(fresh, how);
  CHECK(session.try_train(data, trained, options, labels).ok());
  std::printf("loss %.3f, then %.3f\n", first, loss);
  CHECK(loss < first && trained.info().training_steps == 300);
  CHECK(a_session(fresh, {2, nullptr, {}, {}}).try_train(data, again, options, labels).ok());
  std::vector<unsigned char> one, other;
  CHECK(trained.try_save_memory(one).ok() && again.try_save_memory(other).ok() && one == other);
  provenance(trained, data);
  for (std::size_t label : {0, 1}) {
    mfm::sample_options draw;
    draw.set_label(label);
    numbers samples(2 * 100);
    CHECK(a_session(trained).try_sample(samples, draw).ok());
    float mean = 0;
    for (std::size_t i = 0; i < samples.size(); i += 2) mean += samples[i] / 100;
    std::printf("label %zu: mean %.3f\n", label, mean);
    CHECK(label == 0 ? mean < -0.6f : mean > 0.6f);
  }
  mfm::fine_tuning_options tuning;
  tuning.steps = 20;
  tuning.batch = 64;
  CHECK(a_session(trained).try_fine_tune(target(), tuned, tuning).ok());
  CHECK(tuned.info().training_steps == 320 && std::string(tuned.info().data) == "its own samples" && tuned.info().seed == tuning.seed);

  // A reward of values alone, exp r being e^2 at one point and e^-2 at the other: of a tuned model without labels most samples are at the first.
  form.labels = 0;
  CHECK(mfm::model::try_create(form, data, fresh).ok());
  CHECK(a_session(fresh).try_train(data, trained, options).ok());
  const auto to_the_right = [](mfm::batch x, mfm::span<float> values) {
    for (std::size_t i = 0; i < x.size(); ++i) values[i] = 2 * x[i][0];
  };
  const auto mean = [](const mfm::model& model, bool by_jumps = false) {
    mfm::sample_options draw;
    draw.method = by_jumps ? MFM_METHOD_MAP : MFM_METHOD_ODE;
    draw.steps = by_jumps ? 1 : 20;
    numbers samples(2 * 400);
    CHECK(a_session(model).try_sample(samples, draw).ok());
    float sum = 0;
    for (std::size_t i = 0; i < samples.size(); i += 2) sum += samples[i] / 400;
    return sum;
  };
  tuning.steps = 300;
  tuning.learning_rate = 3e-3;
  tuning.average = 0.97;
  CHECK(a_session(trained).try_fine_tune(to_the_right, tuned, tuning, data).ok());
  std::printf("mean %.3f, tuned without gradients %.3f\n", mean(trained), mean(tuned));
  CHECK(mean(tuned) > mean(trained) + 0.4f);
  // Jumps that follow are nearer to the drift's samples.
  tuning.follow = 3;
  CHECK(a_session(trained).try_fine_tune(to_the_right, again, tuning, data).ok());
  const float left_behind = mean(tuned) - mean(tuned, true), following = mean(again) - mean(again, true);
  std::printf("in one step: mean %.3f, tuned %.3f less than along the drift, and with what follows %.3f less\n", mean(trained, true), left_behind, following);
  CHECK(std::abs(following) < 0.7f * left_behind && mean(again) > mean(trained) + 0.4f);
  tuning.draws = 1;
  expect(a_session(trained).try_fine_tune(to_the_right, again, tuning), MFM_RANGE, "one draw without gradients");
}

}  // namespace

int main() {
  models();
  draws();
  values();
  forbidden();
  progress_of_values();
  steering();
  training();
  return finish();
}
