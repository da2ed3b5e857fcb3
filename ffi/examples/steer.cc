// Loads a model of 8 x 8 digits, steers it with a reward of the host's own, and writes a picture: unsteered digits above, steered ones below.
//
//   steer MODEL PICTURE.pgm
#include <mfm/mfm.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <vector>

namespace {

constexpr std::size_t side = 8, columns = 16;

/// Digits that are their own mirror image, left and right: r(x) = -sum over pixels of (x - mirrored x)^2 / (2 sigma^2). An object, because it has a
/// gradient; a lambda serves as well.
class symmetric final : public mfm::reward {
 public:
  void value(mfm::batch x, mfm::span<float> values) override {
    for (std::size_t i = 0; i < x.size(); ++i) {
      float sum = 0;
      for (std::size_t k = 0; k < x.dimension(); ++k) {
        const float miss = x[i][k] - x[i][mirror(k)];
        sum += miss * miss;
      }
      values[i] = -0.5f * sum / variance;
    }
  }

  bool has_gradient() const noexcept override { return true; }

  void value_and_gradient(mfm::batch x, mfm::span<float> values, mfm::span<float> gradients) override {
    value(x, values);
    for (std::size_t i = 0; i < x.size(); ++i)
      for (std::size_t k = 0; k < x.dimension(); ++k) gradients[i * x.dimension() + k] = -2 * (x[i][k] - x[i][mirror(k)]) / variance;
  }

 private:
  static constexpr float variance = 2.0f;
  static std::size_t mirror(std::size_t k) { return k / side * side + (side - 1 - k % side); }
};

/// A row of digits for each list, one pixel a number.
void write_picture(const char* path, const std::vector<std::vector<float>>& rows) {
  const std::size_t width = columns * (side + 1), height = rows.size() * (side + 1);
  std::vector<unsigned char> pixels(width * height, 128);
  for (std::size_t row = 0; row < rows.size(); ++row)
    for (std::size_t i = 0; i < columns; ++i)
      for (std::size_t k = 0; k < side * side; ++k) {
        const float ink = std::clamp(rows[row][i * side * side + k] / 16, 0.0f, 1.0f);
        pixels[(row * (side + 1) + k / side) * width + i * (side + 1) + k % side] = static_cast<unsigned char>(255 * (1 - ink));
      }
  std::ofstream file(path, std::ios::binary);
  file << "P5\n" << width << ' ' << height << "\n255\n";
  file.write(reinterpret_cast<const char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));
  if (!file) throw std::runtime_error(std::string("cannot write ") + path);
}

float mean_reward(mfm::reward& reward, const std::vector<float>& digits) {
  std::vector<float> values(digits.size() / (side * side));
  reward.value(mfm::batch(digits.data(), values.size(), side * side), values);
  float sum = 0;
  for (float value : values) sum += value;
  return sum / static_cast<float>(values.size());
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 3) {
    std::cerr << "usage: steer MODEL PICTURE.pgm\n";
    return 2;
  }
  const mfm::model model = mfm::model::load(arguments[1]);
  if (model.dimension() != side * side) throw std::runtime_error("this is no model of 8 x 8 digits");
  mfm::session session(model);
  std::vector<float> free(columns * side * side), steered(free.size());
  session.sample(free);

  symmetric reward;
  mfm::steer_options options;
  options.estimator = MFM_MCMC;  // Markov chains in the noise of the one-step map, by the reward's gradient.
  options.steps = 8;
  options.draw.seed = 1;
  session.steer(reward, steered, options);

  write_picture(arguments[2], {free, steered});
  const float before = mean_reward(reward, free), after = mean_reward(reward, steered);
  std::cout << "mean reward " << before << " unsteered, " << after << " steered; see " << arguments[2] << '\n';
  return after > before ? 0 : 1;
} catch (const mfm::error& error) {
  std::cerr << "mfm (" << error.code() << "): " << error.what() << '\n';
  return 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
