// The model is part of the executable: no file is opened, and nothing is thrown, so this is how a host without exceptions does it.
#include <mfm/mfm.hpp>

#include <cstdio>

// Made of digits.mfm by mfm_embed() in CMakeLists.txt.
extern "C" const unsigned char digits_model[];
extern "C" const size_t digits_model_size;

int main() {
  mfm::model model;
  if (auto loaded = mfm::model::try_load_memory({digits_model, digits_model_size}, model); !loaded) {
    std::fprintf(stderr, "%s\n", loaded.message());
    return 1;
  }
  mfm::session session;
  float digit[64];
  mfm::status outcome = mfm::session::try_open(model, session);
  if (outcome.ok()) outcome = session.try_sample({digit, 64});
  if (!outcome) {
    std::fprintf(stderr, "%s\n", outcome.message());
    return 1;
  }
  for (int row = 0; row < 8; ++row) {
    for (int column = 0; column < 8; ++column) {
      const float ink = digit[8 * row + column];
      std::fputs(ink > 10 ? "##" : ink > 5 ? "++" : "  ", stdout);
    }
    std::putchar('\n');
  }
  return 0;
}
