// Eight threads share one model, each with a session of its own; what they draw depends on the seed alone, not on the thread.
//
//   threads MODEL
#include <mfm/mfm.hpp>

#include <iostream>
#include <thread>
#include <vector>

int main(int count, char** arguments) try {
  if (count != 2) {
    std::cerr << "usage: threads MODEL\n";
    return 2;
  }
  const mfm::model model = mfm::model::load(arguments[1]);
  constexpr std::size_t threads = 8, seeds = 16, samples = 4;
  const std::size_t length = samples * model.dimension();
  std::vector<std::vector<float>> drawn(threads * seeds, std::vector<float>(length));

  auto work = [&](std::size_t thread) {
    mfm::session session(model);
    for (std::size_t seed = 0; seed < seeds; ++seed) {
      mfm::steer_options options;
      options.draw.seed = seed;
      options.steps = 2;
      options.draws = 4;
      session.steer([](mfm::batch x, mfm::span<float> values) {
        for (std::size_t i = 0; i < x.size(); ++i) values[i] = 0.1f * x[i][20];
      }, drawn[thread * seeds + seed], options);
    }
  };
  std::vector<std::thread> running;
  for (std::size_t thread = 0; thread < threads; ++thread) running.emplace_back(work, thread);
  for (auto& thread : running) thread.join();

  for (std::size_t i = seeds; i < drawn.size(); ++i)
    if (drawn[i] != drawn[i % seeds]) {
      std::cerr << "thread " << i / seeds << " drew something else for seed " << i % seeds << '\n';
      return 1;
    }
  std::cout << threads << " threads drew the same " << seeds * samples << " samples\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
