// The part that knows no exceptions.
#include <mfm/mfm.hpp>

int of_the_other_part(const char* path, const mfm::sample_options& options, mfm::span<float> samples) {
  mfm::model model;
  mfm::session session;
  if (const mfm::status loaded = mfm::model::try_load(path, model); !loaded) return loaded.code();
  if (const mfm::status opened = mfm::session::try_open(model, session); !opened) return opened.code();
  const mfm::status outcome = session.try_sample(samples, options);
  return outcome.code();
}
