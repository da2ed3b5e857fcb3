// Trains a model on points of a ring, tunes it towards the right-hand side, and saves both; it fails if the first draws no ring, or the second none farther to the right.
//
//   train [STEPS]
#include <mfm/mfm.hpp>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <random>
#include <vector>

namespace {

/// What points are like.
struct summary {
  double first = 0, radius = 0, spread = 0;  // The means of the first coordinate and of the radius, and the deviation of the latter.

  explicit summary(const std::vector<float>& points) {
    const double count = static_cast<double>(points.size() / 2);
    double square = 0;
    for (std::size_t i = 0; i < points.size(); i += 2) {
      const double r = std::hypot(points[i], points[i + 1]);
      first += points[i] / count;
      radius += r / count;
      square += r * r / count;
    }
    spread = std::sqrt(square - radius * radius);
  }
};

/// A thousand samples along the ODE.
summary samples_of(const mfm::model& model) {
  mfm::session session(model);
  std::vector<float> points(2 * 1000);
  mfm::sample_options options;
  options.method = MFM_METHOD_ODE;
  options.steps = 20;
  session.sample(points, options);
  return summary(points);
}

}  // namespace

int main(int count, char** arguments) try {
  const std::uint64_t steps = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1000;
  std::mt19937 random(1);
  std::normal_distribution<float> noise(0, 0.1f);
  std::uniform_real_distribution<float> angle(0, 6.2831853f);
  std::vector<float> points;
  for (int i = 0; i < 2000; ++i) {
    const float a = angle(random);
    points.push_back(2 * std::cos(a) + noise(random));
    points.push_back(2 * std::sin(a) + noise(random));
  }

  mfm::architecture form(2);
  form.width = 64;
  form.depth = 3;
  mfm::session_options how;
  how.threads = 2;
  how.progress = [](const mfm_progress& told) {
    if (told.step % (told.steps / 4 ? told.steps / 4 : 1) == 0) std::cout << "step " << told.step << ", loss " << told.loss << '\n';
    return true;
  };
  mfm::training_options training;
  training.steps = steps;
  training.batch = 256;
  training.learning_rate = 5e-3;
  training.average = 0.99;
  const mfm::model trained = mfm::session(mfm::model::create(form, points), how).train(points, training);
  trained.save("ring.mfm");

  mfm::fine_tuning_options tuning;
  tuning.steps = steps;
  tuning.batch = 256;
  tuning.learning_rate = 1e-3;
  const auto to_the_right = [](mfm::batch x, mfm::span<float> values, mfm::span<float> gradients) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      values[i] = x[i][0];
      gradients[2 * i] = 1;
      gradients[2 * i + 1] = 0;
    }
  };
  const mfm::model tuned = mfm::session(trained, how).fine_tune(to_the_right, tuning);
  tuned.save("ring-to-the-right.mfm");
  const summary data(points), before = samples_of(trained), after = samples_of(tuned);
  std::cout << "radius " << data.radius << " of the data, " << before.radius << " trained; its spread " << data.spread << " and " << before.spread << '\n'
            << "mean of the first coordinate: " << before.first << " trained, " << after.first << " tuned\n";
  // The Gaussian of the data's covariance has the radius 1.8 and the spread 0.9.
  const bool is_ring = std::abs(before.radius - data.radius) < 0.1 && before.spread < 0.3;
  return is_ring && after.first > before.first ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
