// Four samples of a model, by whoever takes the library from source.
#include <mfm/mfm.hpp>

#include <cstdio>
#include <vector>

int main(int count, char** arguments) {
  if (count != 2) return std::fputs("usage: outside MODEL\n", stderr), 2;
  const mfm::model model = mfm::model::load(arguments[1]);
  mfm::session session(model);
  std::vector<float> samples(4 * model.dimension());
  session.sample(samples);
  float sum = 0;
  for (float value : samples) sum += value;
  std::printf("4 samples, whose mean is %.3f\n", static_cast<double>(sum) / static_cast<double>(samples.size()));
  return 0;
}
