// An option makes a difference or is refused, by the names of both; and so are options that the library does not know.
#include "check.hpp"

#include <algorithm>

namespace {

using numbers = std::vector<float>;
constexpr std::size_t dimension = 64;

/// That a call fails with a code and such words.
void refused(const mfm::status& outcome, mfm_code code, const std::string& words) {
  expect(outcome, code, words.c_str());
  CHECK(std::strstr(outcome.message(), words.c_str()));
}

/// An option of steering that is not as it is by default.
struct change {
  const char* name;
  void (*make)(mfm::steer_options&);
};

constexpr change changes[] = {
    {"draws", [](mfm::steer_options& o) { o.draws = 3; }},
    {"moves", [](mfm::steer_options& o) { o.moves = 1; }},
    {"coupling", [](mfm::steer_options& o) { o.coupling = MFM_FRESH_NOISE; }},
    {"sde", [](mfm::steer_options& o) { o.sde = 1; }},
    {"heun", [](mfm::steer_options& o) { o.heun = 1; }},
    {"start", [](mfm::steer_options& o) { o.start = 0.05; }},
    {"window_start", [](mfm::steer_options& o) { o.window_start = 0.4; }},
    {"window_end", [](mfm::steer_options& o) { o.window_end = 0.6; }},
    {"damping", [](mfm::steer_options& o) { o.damping = 0.5; }},
    {"rescale", [](mfm::steer_options& o) { o.rescale = 0.1; }},
    {"clip", [](mfm::steer_options& o) { o.clip = 0.001; }},
    {"threshold", [](mfm::steer_options& o) { o.threshold = 0; }},
};

void steering(mfm::session& session) {
  const auto strong = [](mfm::batch x, mfm::span<float> values, mfm::span<float> gradients) {
    target()(x, values, gradients);
    for (float& value : values) value *= 8;
    for (float& slope : gradients) slope *= 8;
  };
  const char* names[] = {"unsteered", "dps", "mfm-g", "mfm-gf", "resampled", "mcmc", "best-of-n", "smc", "mfm-smc"};
  int refusals = 0;
  for (std::uint32_t estimator = MFM_UNSTEERED; estimator <= MFM_VALUE_SEQUENTIAL_MONTE_CARLO; ++estimator) {
    mfm::steer_options usual;
    usual.estimator = estimator;
    usual.steps = 4;
    numbers samples(8 * dimension), others(samples.size());
    CHECK(session.try_steer(strong, samples, usual).ok());
    for (const change& change : changes) {
      mfm::steer_options options = usual;
      change.make(options);
      const mfm::status outcome = session.try_steer(strong, others, options);
      // That particles follow the SDE may be said.
      const bool said = estimator == MFM_SEQUENTIAL_MONTE_CARLO && options.sde == 1;
      if (outcome.ok()) {
        if ((samples == others) != said) std::printf("%s by %s\n", change.name, names[estimator]);
        CHECK((samples == others) == said);
      } else {
        refused(outcome, MFM_RANGE, std::string(change.name) + ": it makes no difference to the estimator " + names[estimator]);
        ++refusals;
      }
    }
  }
  CHECK(refusals == 66);

  // What the last estimator reads depends on how its particles move.
  numbers samples(2 * dimension);
  mfm::steer_options valued;
  valued.estimator = MFM_VALUE_SEQUENTIAL_MONTE_CARLO;
  valued.steps = 2;
  valued.start = 0.05;
  refused(session.try_steer(strong, samples, valued), MFM_RANGE, "start: it makes no difference to the estimator mfm-smc by bridges");
  valued.sde = 1;
  CHECK(session.try_steer(strong, samples, valued).ok());
  valued.coupling = MFM_SAME_NOISE;
  refused(session.try_steer(strong, samples, valued), MFM_RANGE, "coupling: it makes no difference to the estimator mfm-smc by sde");
}

void training(mfm::session& session) {
  const numbers data(4 * dimension, 1.0f);
  mfm::model made;
  const auto refused_in_training = [&](const char* words, auto change) {
    mfm::training_options options;
    options.steps = 1;
    options.batch = 2;
    CHECK(session.try_train(data, made, options).ok());
    change(options);
    const mfm::status outcome = session.try_train(data, made, options);
    refused(outcome, MFM_RANGE, words);
    CHECK(std::string(outcome.message()) == words);
  };
  using options = mfm_training_options;
  refused_in_training("strength: it makes no difference to training", [](options& o) { o.strength = 2; });
  refused_in_training("draws: it makes no difference to training", [](options& o) { o.draws = 2; });
  refused_in_training("follow: it makes no difference to training", [](options& o) { o.follow = 1; });
  refused_in_training("label_dropout: it makes no difference to training without labels", [](options& o) { o.label_dropout = 0.2; });
  const auto refused_in_tuning = [&](const char* words, auto change) {
    mfm::fine_tuning_options tuning;
    tuning.steps = 1;
    tuning.batch = 2;
    CHECK(session.try_fine_tune(target(), made, tuning).ok());
    change(tuning);
    refused(session.try_fine_tune(target(), made, tuning), MFM_RANGE, words);
  };
  refused_in_tuning("consistency: it makes no difference to fine-tuning", [](options& o) { o.consistency = MFM_EULERIAN; });
  refused_in_tuning("label_dropout: it makes no difference to fine-tuning", [](options& o) { o.label_dropout = 0.2; });

  mfm::architecture form(2);
  form.raw = 2;
  refused(mfm::model::try_create(form, {}, made), MFM_RANGE, "raw must be 0 or 1");
  form.raw = 0;
  form.reserved = 1;
  refused(mfm::model::try_create(form, {}, made), MFM_RANGE, "the architecture's reserved number must be 0");
}

/// Of a host with a newer header.
template <class Known>
struct newer {
  Known known;
  std::uint64_t unknown;
};

void versions(const mfm::model& model, mfm::session& session) {
  const char* words = "a newer version of mfm";
  numbers samples(dimension);
  newer<mfm_sample_options> options{mfm_sample_options_default(), 0};
  options.known.size = sizeof options;
  CHECK(mfm::status(mfm_sample(session.get(), &options.known, samples.data(), samples.size())).ok());
  options.unknown = 1;
  refused(mfm::status(mfm_sample(session.get(), &options.known, samples.data(), samples.size())), MFM_UNSUPPORTED, words);

  const auto value = [](void*, const float*, std::size_t n, std::size_t, float* values) -> int {
    std::fill(values, values + n, 0.0f);
    return MFM_OK;
  };
  newer<mfm_reward> reward{{sizeof reward, nullptr, value, nullptr}, 0};
  CHECK(mfm::status(mfm_steer(session.get(), &reward.known, nullptr, samples.data(), samples.size())).ok());
  reward.unknown = 1;
  refused(mfm::status(mfm_steer(session.get(), &reward.known, nullptr, samples.data(), samples.size())), MFM_UNSUPPORTED, words);

  newer<mfm_model_info> info{{}, 77};
  info.known.size = sizeof info;
  CHECK(mfm::status(mfm_model_describe(model.get(), &info.known)).ok() && info.known.dimension == dimension && info.unknown == 0);
}

}  // namespace

int main() {
  const mfm::model model = the_model();
  mfm::session session = a_session(model);
  steering(session);
  training(session);
  versions(model, session);
  return finish();
}
