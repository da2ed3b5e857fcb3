// How the host stops a call: soon, also within long steps, and in training with what there is so far.
#include "check.hpp"

#include <algorithm>
#include <cmath>

namespace {

using numbers = std::vector<float>;
constexpr std::size_t dimension = 64;
// More than a block, which holds 16384 rows of this dimension.
constexpr std::size_t many = 40000;

/// A session that counts what it is told, and stops at a number of calls.
struct counted {
  std::size_t told = 0, stop = 0, last = 0, steps = 0;
  mfm_code answer = MFM_CANCELLED;
  mfm::session session;

  explicit counted(const mfm::model& model) {
    mfm::session_options how;
    how.progress = [this](const mfm_progress& progress) {
      CHECK(progress.step >= last && progress.step <= progress.steps);
      last = progress.step;
      steps = progress.steps;
      return ++told == stop ? answer : MFM_OK;
    };
    session = a_session(model, std::move(how));
  }
  void stop_at(std::size_t number) { told = last = 0, stop = number; }
};

/// The draws of a single state are made in parts, each of which the host is told of; they are those of a call for fewer of them.
void draws_of_one_state(const mfm::model& model) {
  counted host(model);
  numbers state(dimension, 1.0f), draws(many * dimension), few(100 * dimension), value(1), whole(1);
  mfm::posterior_options options;
  options.draws = many;
  CHECK(host.session.try_posterior(state, draws, options).ok() && host.told == 3 && host.steps == 3);
  options.draws = 100;
  host.stop_at(0);
  CHECK(host.session.try_posterior(state, few, options).ok());
  float largest = 0;
  for (std::size_t i = 0; i < few.size(); ++i) largest = std::max(largest, std::abs(few[i] - draws[i]));
  CHECK(largest < 1e-5f);
  options.draws = many;
  host.stop_at(2);
  expect(host.session.try_posterior(state, draws, options), MFM_CANCELLED, "draws of one state are cancelled");
  CHECK(host.told == 2);

  mfm::value_options valued;
  valued.draws = many;
  host.stop_at(1);
  expect(host.session.try_value(target(), state, value, valued), MFM_CANCELLED, "the value of one state is cancelled");
  host.stop_at(0);
  numbers size(1);
  valued.effective_sample_sizes = size.data();
  CHECK(host.session.try_value(target(), state, whole, valued).ok() && host.told == 3);
  CHECK(size[0] > 1 && size[0] <= many);
}

/// Steps of a batch that is longer than a block are told of while they last.
void long_steps(const mfm::model& model) {
  counted host(model);
  numbers samples(many * dimension);
  for (const std::uint32_t estimator : {MFM_UNSTEERED, MFM_DPS, MFM_GRADIENT_FREE, MFM_RESAMPLED, MFM_BEST_OF_N}) {
    mfm::steer_options options;
    options.estimator = estimator;
    options.steps = 2;
    options.draws = makes_draws(estimator) ? 2 : 0;
    host.stop_at(1);
    expect(host.session.try_steer(target(), samples, options), MFM_CANCELLED, "a step is cancelled before its end");
    CHECK(host.last == 0);
  }
  mfm::steer_options options;
  // The best of several samples tells of blocks of samples, here five.
  options.estimator = MFM_BEST_OF_N;
  options.steps = 2;
  options.draws = 2;
  host.stop_at(0);
  CHECK(host.session.try_steer(target(), samples, options).ok() && host.last == 5 && host.steps == 5);
  // What the first of them may be is allowed, whatever comes after it.
  std::size_t asked = 0;
  const auto at_first = [&asked](mfm::batch x, mfm::span<float> values) {
    for (std::size_t i = 0; i < x.size(); ++i) values[i] = asked == 0 ? 0.0f : -INFINITY;
    ++asked;
  };
  host.stop_at(0);
  CHECK(host.session.try_steer(at_first, samples, options).ok() && asked == 5);
  options.estimator = MFM_UNSTEERED;
  options.draws = 0;
  host.stop_at(0);
  CHECK(host.session.try_steer(target(), samples, options).ok() && host.told >= 4 && host.last == 2 && host.steps == 2);
}

/// Training that is stopped is a model of the steps that were made, the same as those of a run that did not stop; one that is cancelled is none.
void early_end() {
  numbers data;
  for (int i = 0; i < 100; ++i) data.insert(data.end(), {std::sin(static_cast<float>(i)), std::cos(static_cast<float>(3 * i))});
  mfm::architecture form(2);
  form.width = form.depth = 4;
  mfm::model fresh, model, tuned, none;
  CHECK(mfm::model::try_create(form, data, fresh).ok());
  counted host(fresh);
  mfm::training_options options;
  options.steps = 50;
  options.batch = 16;
  host.stop_at(7);
  expect(host.session.try_train(data, none, options), MFM_CANCELLED, "training is cancelled");
  CHECK(!none);
  host.answer = MFM_STOP;
  host.stop_at(7);
  CHECK(host.session.try_train(data, model, options).ok() && host.told == 7);
  CHECK(model && model.info().training_steps == 7 && fresh.info().training_steps == 0);
  mfm::fine_tuning_options tuning;
  tuning.steps = 50;
  tuning.batch = 16;
  host.stop_at(50);
  const auto right = [](mfm::batch x, mfm::span<float> values) {
    for (std::size_t i = 0; i < x.size(); ++i) values[i] = x[i][0];
  };
  counted second(model);
  second.answer = MFM_STOP;
  second.stop_at(3);
  CHECK(second.session.try_fine_tune(right, tuned, tuning).ok() && tuned.info().training_steps == 10);
  // Where there is nothing to keep it is as cancelled.
  numbers samples(20);
  second.stop_at(1);
  expect(second.session.try_sample(samples), MFM_CANCELLED, "sampling is stopped");
}

}  // namespace

int main() {
  const mfm::model model = the_model();
  draws_of_one_state(model);
  long_steps(model);
  early_end();
  return finish();
}
