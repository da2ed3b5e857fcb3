// A program of two parts, of which one knows no exceptions: options cross from one to the other, and neither takes the other's statuses for its own.
#include "check.hpp"

#include <stdexcept>

/// In the other part.
int of_the_other_part(const char* path, const mfm::sample_options& options, mfm::span<float> samples);

int main() {
  mfm::session session = a_session(the_model());
  std::vector<float> here(64), there(64);
  mfm::sample_options options;
  options.draw.seed = 5;
  for (int round = 0; round < 3; ++round) {
    CHECK(of_the_other_part(MODEL, options, there) == MFM_OK);
    CHECK(session.try_sample(here, options).ok() && here == there);
    CHECK(of_the_other_part(MODEL, options, {there.data(), 63}) == MFM_LENGTH);
    try {
      session.steer([](mfm::batch, mfm::span<float>) { throw std::out_of_range("kept"); }, here);
      CHECK(false);
    } catch (const std::out_of_range& exception) {
      CHECK(std::string(exception.what()) == "kept");
    }
  }
  return finish();
}
