// Numbers far from zero and of unequal scale: a model that standardises them is, number by number, a raw one of what was standardised by hand, whose numbers
// are mapped by hand.
#include "dlpack.hpp"

#include <cmath>

namespace {

using numbers = std::vector<float>;
constexpr std::size_t dimension = 2, count = 64;

/// -|A (x - c)|^2 / 2 of the data for A = diag(2, 1/500), whichever the coordinates x = mean + scale z.
struct aim {
  double mean[2] = {0, 0}, scale[2] = {1, 1};

  void operator()(mfm::batch x, mfm::span<float> values, mfm::span<float> gradients) const {
    const double a[2] = {2, 0.002}, centre[2] = {51, -19000};
    for (std::size_t i = 0; i < x.size(); ++i) {
      double sum = 0;
      for (std::size_t k = 0; k < dimension; ++k) {
        const double miss = a[k] * (mean[k] + scale[k] * static_cast<double>(x[i][k]) - centre[k]);
        sum += miss * miss;
        if (gradients.size() > 0) gradients[i * dimension + k] = static_cast<float>(-miss * a[k] * scale[k]);
      }
      values[i] = static_cast<float>(-sum / 2);
    }
  }
};

mfm::model trained(const numbers& data, std::uint32_t raw) {
  mfm::architecture form(dimension);
  form.width = 16;
  form.depth = 2;
  form.raw = raw;
  mfm::training_options training;
  training.steps = 30;
  training.batch = 32;
  training.average = 0.9;
  mfm::model fresh, made;
  CHECK(mfm::model::try_create(form, data, fresh).ok());
  CHECK(a_session(fresh).try_train(data, made, training).ok());
  return made;
}

struct both {
  mfm::model x, z;
  aim of_x, of_z;

  numbers entered(const numbers& items) const {
    numbers by_hand(items);
    for (std::size_t i = 0; i < items.size(); ++i) {
      by_hand[i] = (items[i] - static_cast<float>(of_z.mean[i % 2])) / static_cast<float>(of_z.scale[i % 2]);
    }
    return by_hand;
  }

  /// That numbers in the units of the data are those of z, mapped; of velocities and gradients, without the mean.
  bool same(const float* x_numbers, const numbers& z_numbers, double power = 1, bool shifted = true) const {
    for (std::size_t i = 0; i < z_numbers.size(); ++i) {
      const double mean = shifted ? of_z.mean[i % 2] : 0, scale = std::pow(of_z.scale[i % 2], power);
      const double mapped = mean + scale * static_cast<double>(z_numbers[i]);
      const double room = 1e-5 * std::abs(mean) + 1e-3 * scale * (1 + std::abs(static_cast<double>(z_numbers[i])));
      if (!(std::abs(static_cast<double>(x_numbers[i]) - mapped) < room)) {
        std::printf("number %zu is %g, but should be %g\n", i, static_cast<double>(x_numbers[i]), mapped);
        return false;
      }
    }
    return true;
  }
};

void compare(const both& pair) {
  mfm::session one = a_session(pair.x), other = a_session(pair.z);
  numbers x(dimension * count), z(x.size());
  for (mfm_method method : {MFM_METHOD_MAP, MFM_METHOD_REFINEMENT, MFM_METHOD_ODE, MFM_METHOD_SDE}) {
    mfm::sample_options options;
    options.method = method;
    options.steps = 4;
    CHECK(one.try_sample(x, options).ok() && other.try_sample(z, options).ok() && pair.same(x.data(), z));
  }

  numbers states = {50.3f, -19500, 49.2f, -21200};
  const numbers z_states = pair.entered(states);
  numbers x_draws(dimension * 6), z_draws(x_draws.size());
  mfm::posterior_options posterior;
  posterior.draws = 3;
  CHECK(one.try_posterior(states, x_draws, posterior).ok() && other.try_posterior(z_states, z_draws, posterior).ok());
  CHECK(pair.same(x_draws.data(), z_draws));
  mfm::query question;
  question.s = question.t = 0.4;
  CHECK(one.try_velocity(question, states, states, x_draws = numbers(4)).ok());
  CHECK(other.try_velocity(question, z_states, z_states, z_draws = numbers(4)).ok() && pair.same(x_draws.data(), z_draws, 1, false));

  numbers values(2), z_values(2), gradients(4), z_gradients(4);
  CHECK(one.try_value(pair.of_x, states, values).ok() && other.try_value(pair.of_z, z_states, z_values).ok());
  for (int i : {0, 1}) CHECK(std::abs(values[i] - z_values[i]) < 1e-3f * (1 + std::abs(values[i])));
  CHECK(one.try_value_and_gradient(pair.of_x, states, values, gradients).ok());
  CHECK(other.try_value_and_gradient(pair.of_z, z_states, z_values, z_gradients).ok() && pair.same(gradients.data(), z_gradients, -1, false));

  for (std::uint32_t estimator = MFM_UNSTEERED; estimator <= MFM_VALUE_SEQUENTIAL_MONTE_CARLO; ++estimator) {
    mfm::steer_options options;
    options.estimator = estimator;
    options.steps = 4;
    options.draws = makes_draws(estimator) ? 4 : 0;
    CHECK(one.try_steer(pair.of_x, x, options).ok() && other.try_steer(pair.of_z, z, options).ok() && pair.same(x.data(), z));
  }
  mfm::search_options search;
  search.steps = search.draws = 4;
  numbers rewards(count), z_rewards(count);
  CHECK(one.try_search(pair.of_x, x, rewards, search).ok() && other.try_search(pair.of_z, z, z_rewards, search).ok());
  CHECK(pair.same(x.data(), z));
  for (std::size_t i = 0; i < count; ++i) CHECK(std::abs(rewards[i] - z_rewards[i]) < 1e-3f * (1 + std::abs(rewards[i])));

  auto* given = new ::states(states.data());
  given->shape[1] = given->strides[0] = 2;
  DLManagedTensorVersioned* out = nullptr;
  CHECK(one.try_posterior_dlpack(&given->tensor, out, posterior).ok());
  z_draws = numbers(dimension * 6);
  CHECK(other.try_posterior(z_states, z_draws, posterior).ok() && pair.same(static_cast<const float*>(out->dl_tensor.data), z_draws));
  out->deleter(out);
  CHECK(one.try_steer_dlpack(pair.of_x, count, out).ok() && other.try_steer(pair.of_z, z).ok());
  CHECK(pair.same(static_cast<const float*>(out->dl_tensor.data), z));
  out->deleter(out);
}

}  // namespace

int main() {
  // 10^7 and 10^7 + 1, between which there is no float: samples could not be told apart.
  mfm::architecture form(1);
  const numbers far = {1e7f, 1e7f + 1, 1e7f, 1e7f + 1};
  mfm::model refused;
  const mfm::status status = mfm::model::try_create(form, far, refused);
  CHECK(status.code() == MFM_UNSUPPORTED && std::string(status.message()).find("the deviation 0.5, which float does not hold") != std::string::npos);
  form.raw = 1;
  CHECK(mfm::model::try_create(form, far, refused).ok());

  numbers data;
  for (std::size_t i = 0; i < count; ++i) {
    const float k = static_cast<float>(i);
    data.push_back(50 + std::sin(0.7f * k));
    data.push_back(-20000 + 1000 * (std::cos(0.37f * k) - std::sin(0.7f * k)));
  }
  both pair;
  pair.x = trained(data, 0);
  const mfm_model_info info = pair.x.info();
  CHECK(info.mean && info.scale && std::abs(info.mean[0] - 50) < 0.2 && std::abs(info.scale[1] - 1000) < 100);
  for (int k : {0, 1}) pair.of_z.mean[k] = info.mean[k], pair.of_z.scale[k] = info.scale[k];
  pair.z = trained(pair.entered(data), 1);
  CHECK(!pair.z.info().mean && !pair.z.info().scale);
  compare(pair);

  // A tuned model keeps them, and a file.
  mfm::fine_tuning_options tuning;
  tuning.steps = 3;
  tuning.batch = 32;
  for (bool own : {true, false}) {
    both tuned{{}, {}, pair.of_x, pair.of_z};
    const numbers z_data = pair.entered(data);
    CHECK(a_session(pair.x).try_fine_tune(pair.of_x, tuned.x, tuning, own ? mfm::span<const float>() : mfm::span<const float>(data)).ok());
    CHECK(a_session(pair.z).try_fine_tune(pair.of_z, tuned.z, tuning, own ? mfm::span<const float>() : mfm::span<const float>(z_data)).ok());
    std::vector<unsigned char> bytes;
    CHECK(tuned.x.try_save_memory(bytes).ok() && mfm::model::try_load_memory(bytes, tuned.x).ok());
    compare(tuned);
  }

  // What does not vary is learnt as it is.
  mfm::model still;
  CHECK(mfm::model::try_create(mfm::architecture(2), numbers{3, 4, 3, 4}, still).ok());
  CHECK(still.info().mean[1] == 4 && still.info().scale[1] == 1);
  const mfm::model raw = the_model();
  CHECK(!raw.info().mean);
  return finish();
}
