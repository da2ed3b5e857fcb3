// A library whose users see nothing of mfm.
#include <mfm/mfm.hpp>

#include <vector>

float mean_of_samples(const char* path) {
  const mfm::model model = mfm::model::load(path);
  mfm::session session(model);
  std::vector<float> samples(4 * model.dimension());
  session.sample(samples);
  float sum = 0;
  for (float value : samples) sum += value;
  return sum / static_cast<float>(samples.size());
}
