// Four samples of a model, by whoever takes the library from source; without a file of one, of that in the executable.
#include <mfm/mfm.hpp>

#include <cstdio>
#include <vector>

extern "C" const unsigned char digits_model[];
extern "C" const size_t digits_model_size;

int main(int count, char** arguments) {
  if (count > 2) return std::fputs("usage: outside [MODEL]\n", stderr), 2;
  const mfm::model model = count == 2 ? mfm::model::load(arguments[1]) : mfm::model::load_memory({digits_model, digits_model_size});
  mfm::session session(model);
  std::vector<float> samples(4 * model.dimension());
  session.sample(samples);
  float sum = 0;
  for (float value : samples) sum += value;
  std::printf("4 samples, whose mean is %.3f\n", static_cast<double>(sum) / static_cast<double>(samples.size()));
  return 0;
}
