// Everything that can go wrong has a code of its own, and the process goes on: the same session works after each.
#include "check.hpp"

#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <thread>

namespace {

using numbers = std::vector<float>;
constexpr std::size_t dimension = 64;

struct own_exception {
  int number;
};

/// What a reward throws comes back as itself, whoever else asks the session meanwhile and is refused.
void while_another_thread_asks(mfm::session& session, mfm::span<float> samples, const mfm::steer_options& steer) {
  int own = 0, refused = 0;
  for (int round = 0; round < 20; ++round) {
    const auto reward = [&](mfm::batch, mfm::span<float>) {
      std::thread other([&] {
        numbers theirs(dimension);
        refused += session.try_sample(theirs).code() == MFM_BUSY;
      });
      other.join();
      throw own_exception{7};
    };
    try {
      session.steer(reward, samples, steer);
    } catch (const own_exception& exception) {
      own += exception.number == 7;
    }
  }
  std::printf("another thread was refused %d times\n", refused);
  CHECK(own == 20 && refused == 20);
}

/// That a call fails, with these words in its message.
void names(const mfm::status& outcome, const char* words) {
  std::printf("    %s\n", outcome.message());
  CHECK(!outcome.ok() && std::strstr(outcome.message(), words));
}

/// Options that mean nothing are no options.
void options_out_of_range(mfm::session& session) {
  numbers samples(2 * dimension), rewards(2);
  const auto refused = [&](const char* words, auto change) {
    mfm::steer_options options;
    options.estimator = MFM_GRADIENT_FREE;
    options.steps = 2;
    options.draws = 2;
    change(options);
    const mfm::status outcome = session.try_steer(target(), samples, options);
    CHECK(outcome.code() == MFM_RANGE && std::strstr(outcome.message(), words));
    std::printf("    %s\n", outcome.message());
  };
  using options = mfm::steer_options;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  refused("first time of the window is 0.9", [](options& o) { o.window_start = 0.9, o.window_end = 0.1; });
  refused("first time of the window is NaN", [&](options& o) { o.window_start = nan; });
  refused("sde", [](options& o) { o.sde = 2; });
  refused("heun", [](options& o) { o.heun = 7; });
  refused("chain moves is 0", [](options& o) { o.estimator = MFM_MCMC, o.moves = 0; });
  refused("threshold is 2", [](options& o) { o.threshold = 2; });
  refused("first time is 1", [](options& o) { o.start = 1; });
  refused("the grid's power is 1e300", [](options& o) { o.power = 1e300; });
  refused("damping is -1e300", [](options& o) { o.damping = -1e300; });
  mfm::search_options search;
  search.keep_overall = 2;
  expect(session.try_search(target(), samples, rewards, search), MFM_RANGE, "a switch that is neither on nor off");
  search.keep_overall = 0;
  search.draws = 0;
  expect(session.try_search(target(), samples, rewards, search), MFM_RANGE, "a search without draws");
}

/// A reward that forbids everything leaves nothing to choose; one that forbids something does not.
void forbidden(mfm::session& session) {
  numbers samples(2 * dimension);
  const auto all = [](mfm::batch x, mfm::span<float> values, mfm::span<float> slopes) {
    target()(x, values, slopes);
    for (float& value : values) value = -INFINITY;
  };
  const auto most = [](mfm::batch x, mfm::span<float> values, mfm::span<float> slopes) {
    target()(x, values, slopes);
    for (std::size_t i = 1; i < x.size(); ++i) values[i] = -INFINITY;
  };
  for (std::uint32_t estimator = MFM_DPS; estimator <= MFM_VALUE_SEQUENTIAL_MONTE_CARLO; ++estimator) {
    mfm::steer_options options;
    options.estimator = estimator;
    options.steps = 3;
    options.draws = makes_draws(estimator) ? 2 : 0;
    expect(session.try_steer(all, samples, options), MFM_NOT_FINITE, "a reward that forbids everything");
    CHECK(session.try_steer(most, samples, options).ok());
  }
  // What was allowed on the way is of no use to a population that is forbidden at the end.
  std::size_t asked = 0, last = 0;
  for (int round = 0; round < 2; ++round) {
    asked = 0;
    mfm::steer_options population;
    population.estimator = MFM_SEQUENTIAL_MONTE_CARLO;
    population.steps = 3;
    const auto at_the_end = [&](mfm::batch x, mfm::span<float> values, mfm::span<float> slopes) {
      target()(x, values, slopes);
      if (++asked == last)
        for (float& value : values) value = -INFINITY;
    };
    CHECK(session.try_steer(at_the_end, samples, population).code() == (round == 0 ? MFM_OK : MFM_NOT_FINITE));
    last = asked;
  }
  // Nobody asks for a reward outside the window.
  mfm::steer_options nowhere;
  nowhere.estimator = MFM_GRADIENT_FREE;
  nowhere.steps = 3;
  nowhere.window_end = 0;
  CHECK(session.try_steer(all, samples, nowhere).ok());
}

}  // namespace

int main() {
  const mfm::model model = the_model();
  bool cancel = false, throws = false;
  mfm::session_options how;
  how.progress = [&](const mfm_progress& told) {
    if (throws) throw std::length_error("the progress callback has had enough");
    return !(cancel && told.step == 2);
  };
  mfm::session session = a_session(model, how);
  numbers samples(4 * dimension), states(2 * dimension), values(2);
  mfm::steer_options steer;
  steer.steps = 3;
  steer.draws = 2;
  std::set<mfm_code> codes;
  const auto fails = [&](const mfm::status& outcome, mfm_code code, const char* what) {
    expect(outcome, code, what);
    codes.insert(code);
    expect(session.try_steer(target(), samples, steer), MFM_OK, "and the session goes on");
  };

  options_out_of_range(session);
  forbidden(session);

  // Callbacks.
  const auto throws_exception = [](mfm::batch, mfm::span<float>) { throw std::out_of_range("the host's own words"); };
  const auto throws_int = [](mfm::batch, mfm::span<float>) { throw 42; };
  fails(session.try_steer(throws_exception, samples, steer), MFM_CALLBACK_THREW, "a reward throws a std::exception");
  fails(session.try_steer(throws_int, samples, steer), MFM_CALLBACK_THREW_OTHER, "a reward throws an int");
  fails(session.try_steer([](mfm::batch, mfm::span<float> v) { for (float& x : v) x = std::nanf(""); }, samples, steer), MFM_NOT_FINITE,
        "a reward returns NaN");
  fails(session.try_steer([](mfm::batch, mfm::span<float>) {}, samples, steer), MFM_NOT_FINITE, "a reward writes nothing");
  // It is said which reward it was: of which draw, of which state.
  const auto one_is_not = [](mfm::batch x, mfm::span<float> v) {
    for (std::size_t i = 0; i < x.size(); ++i) v[i] = i == 5 ? std::nanf("") : 0;
  };
  mfm::value_options three;
  three.draws = 3;
  names(session.try_value(one_is_not, states, values, three), "draw 2 of state 1");
  names(session.try_steer(one_is_not, samples, steer), "draw 1 of state 2");
  fails(session.try_steer([](mfm::batch, mfm::span<float>) { return false; }, samples, steer), MFM_CANCELLED, "a reward cancels");
  fails(session.try_steer([](mfm::batch, mfm::span<float>) { return -7; }, samples, steer), MFM_CALLBACK_FAILED, "a reward returns -7");
  cancel = true;
  expect(session.try_steer(target(), samples, steer), MFM_CANCELLED, "the progress callback cancels");
  cancel = false;
  throws = true;
  expect(session.try_steer(target(), samples, steer), MFM_CALLBACK_THREW, "the progress callback throws");
  numbers gradients(states.size());
  expect(session.try_value_and_gradient(target(), states, values, gradients), MFM_CALLBACK_THREW, "it throws as a gradient is made");
  throws = false;
  fails(session.try_steer([&](mfm::batch, mfm::span<float>) {
    numbers inner(dimension);
    const mfm::status outcome = session.try_sample(inner);
    return static_cast<int>(outcome.code());
  }, samples, steer), MFM_CALLBACK_FAILED, "a reward calls its own session");
  mfm_code inner_code = MFM_OK;
  expect(session.try_steer([&](mfm::batch x, mfm::span<float> v) {
    numbers inner(dimension);
    inner_code = session.try_sample(inner).code();
    target()(x, v, {});
  }, samples, steer), MFM_OK, "a reward survives calling its own session");
  CHECK(inner_code == MFM_BUSY);
  codes.insert(inner_code);

  // Exceptions come back as themselves.
  try {
    session.steer(throws_exception, samples, steer);
    CHECK(false);
  } catch (const std::out_of_range& exception) {
    CHECK(std::string(exception.what()) == "the host's own words");
  }
  try {
    session.steer([](mfm::batch, mfm::span<float>) { throw own_exception{42}; }, samples, steer);
    CHECK(false);
  } catch (const own_exception& exception) {
    CHECK(exception.number == 42);
  }
  try {
    session.sample(mfm::span<float>(samples.data(), 63));
    CHECK(false);
  } catch (const mfm::error& error) {
    CHECK(error.code() == MFM_LENGTH && std::string(error.what()).find("63") != std::string::npos);
  }
  while_another_thread_asks(session, samples, steer);
  // A C callback that lets a C++ exception through.
  mfm_reward raw{sizeof(mfm_reward), nullptr, [](void*, const float*, size_t, size_t, float*) -> int { throw std::domain_error("raw"); },
                 nullptr};
  mfm::status escaped(mfm_steer(session.get(), &raw, &steer, samples.data(), samples.size()));
  names(session.try_steer(throws_exception, samples, steer), "the reward threw an exception: the host's own words");
  CHECK(escaped.code() == MFM_CALLBACK_THREW && std::string(escaped.message()).find("raw") != std::string::npos);

  raw.size = 0;
  names(mfm::status(mfm_steer(session.get(), &raw, &steer, samples.data(), samples.size())), "the reward does not begin with its size");
  raw = mfm_reward_default();
  names(mfm::status(mfm_steer(session.get(), &raw, &steer, samples.data(), samples.size())), "the reward's value callback is null");

  // Pointers and lengths.
  fails(mfm::status(mfm_sample(session.get(), nullptr, nullptr, 64)), MFM_NULL_POINTER, "a null pointer");
  expect(mfm::status(mfm_sample(nullptr, nullptr, samples.data(), 64)), MFM_NULL_POINTER, "a null session");
  expect(mfm::status(mfm_steer(session.get(), nullptr, nullptr, samples.data(), 64)), MFM_NULL_POINTER, "a null reward");
  expect(mfm::status(mfm_model_load(nullptr, 3, nullptr, nullptr)), MFM_NULL_POINTER, "a null place");
  fails(session.try_sample({samples.data(), 63}), MFM_LENGTH, "a wrong length");
  expect(session.try_posterior(states, {samples.data(), 64}), MFM_LENGTH, "too little room for draws");
  expect(session.try_value(target(), states, {values.data(), 1}), MFM_LENGTH, "too little room for values");
  fails(session.try_sample({samples.data(), 0}), MFM_EMPTY, "a zero batch");
  expect(session.try_posterior({states.data(), 0}, samples), MFM_EMPTY, "no states");

  // States that are no numbers are not blamed on the reward or the result.
  numbers broken = states;
  broken[dimension + 3] = std::nanf("");
  numbers room(states.size());
  names(session.try_posterior(broken, room), "the states: number 3 of item 1 is NaN");
  names(session.try_value(target(), broken, values), "the states: number 3 of item 1 is NaN");
  names(session.try_velocity(mfm::query(), states, broken, room), "the states: number 3 of item 1 is NaN");
  names(session.try_velocity(mfm::query(), broken, states, room), "x: number 3 of item 1 is NaN");

  // Options.
  mfm::posterior_options posterior;
  posterior.draws = 0;
  expect(session.try_posterior(states, room, posterior), MFM_RANGE, "no draws");
  posterior = {};
  posterior.time = 1.5;
  fails(session.try_posterior(states, {samples.data(), states.size()}, posterior), MFM_RANGE, "a time above 1");
  const double scales[3] = {1, 1, 1};
  posterior = {};
  posterior.draw.guidance = scales;
  posterior.draw.guidance_count = 3;
  expect(session.try_posterior(states, {samples.data(), states.size()}, posterior), MFM_LENGTH, "three scales for two states");
  posterior.draw.guidance_count = 1;
  expect(session.try_posterior(states, {samples.data(), states.size()}, posterior), MFM_UNSUPPORTED, "a scale for a model that takes none");
  posterior.draw.guidance_count = 3;
  mfm::value_options valued;
  valued.draw = posterior.draw;
  expect(session.try_value(target(), states, values, valued), MFM_LENGTH, "three scales for two values");
  mfm::steer_options unknown = steer;
  unknown.estimator = 99;
  expect(session.try_steer(target(), samples, unknown), MFM_RANGE, "an estimator that does not exist");
  unknown.size = 1;
  expect(session.try_steer(target(), samples, unknown), MFM_RANGE, "options without their size");
  mfm::steer_options gradient = steer;
  gradient.estimator = MFM_GRADIENT;
  fails(session.try_steer([](mfm::batch, mfm::span<float>) {}, samples, gradient), MFM_UNSUPPORTED, "no gradient where one is needed");
  const std::size_t label = 3;
  mfm::sample_options labelled;
  labelled.draw.labels = &label;
  labelled.draw.label_count = 1;
  expect(session.try_sample(samples, labelled), MFM_UNSUPPORTED, "a label for a model without");
  mfm::session other;
  expect(mfm::session::try_open(model, other, {5000, nullptr, {}, {}}), MFM_RANGE, "too many threads");
  expect(mfm::session::try_open(model, other, {1, &samples, {}, {}}), MFM_UNSUPPORTED, "a stream on the CPU");
  expect(mfm::session::try_open(mfm::model(), other), MFM_NULL_POINTER, "a session of no model");

  // Models.
  mfm::model loaded;
  std::vector<unsigned char> bytes = model.save_memory();
  fails(mfm::model::try_load_memory({bytes.data(), bytes.size() - 1000}, loaded), MFM_BAD_MODEL, "a truncated model");
  for (std::size_t length = 0; length < bytes.size(); length += 1 + length / 3)
    CHECK(mfm::model::try_load_memory({bytes.data(), length}, loaded).code() == MFM_BAD_MODEL);
  bytes[bytes.size() / 2] ^= 1;
  expect(mfm::model::try_load_memory(bytes, loaded), MFM_BAD_MODEL, "a corrupt model");
  fails(mfm::model::try_load("no/such/file.mfm", loaded), MFM_FILE, "a file that is not there");
  expect(model.try_save("no/such/folder/x.mfm"), MFM_FILE, "a folder that is not there");
  names(model.try_save("no/such/folder/x.mfm"), "cannot write no/such/folder/x.mfm: there is no such");
  expect(model.try_save(""), MFM_FILE, "an empty path");
  names(mfm::model::try_load(std::string("a\0b", 3), loaded), "zero byte at 1");
  mfm::model_options elsewhere;
  elsewhere.device = "tpu:7";
  expect(mfm::model::try_load(MODEL, loaded, elsewhere), MFM_UNSUPPORTED, "a device that is not there");
  elsewhere.device = "cuda:4096";
  fails(mfm::model::try_load(MODEL, loaded, elsewhere), MFM_DEVICE, "a GPU that is not there");
  expect(mfm::model::try_load(MODEL, loaded, kept(MFM_BF16, 0)), MFM_UNSUPPORTED, "bf16 on the CPU");
  expect(mfm::model::try_load(MODEL, loaded, kept(MFM_F32, 1)), MFM_UNSUPPORTED, "graphs on the CPU");
  fails(mfm::model::try_load(MODEL, loaded, kept(MFM_BF16 + 1, 0)), MFM_RANGE, "a precision that is not there");
  CHECK(!loaded);

  // More memory than there is: more draws, more samples, a wider network than any machine can hold.
  mfm::value_options huge;
  huge.draws = std::size_t{1} << 46;
  fails(session.try_value(target(), states, values, huge), MFM_OUT_OF_MEMORY, "an allocation larger than memory");
  huge.draws = std::numeric_limits<std::size_t>::max() / 2;
  expect(session.try_value(target(), states, values, huge), MFM_OUT_OF_MEMORY, "more draws than can be addressed");
  DLManagedTensorVersioned* tensor = nullptr;
  expect(session.try_steer_dlpack(target(), std::size_t{1} << 46, tensor, steer), MFM_OUT_OF_MEMORY, "more samples than there is memory");
  expect(session.try_sample_dlpack(std::size_t{1} << 42, tensor), MFM_OUT_OF_MEMORY, "the same without a reward, at once");
  mfm::architecture wide(1 << 24);
  wide.width = 1 << 24;
  expect(mfm::model::try_create(wide, {}, loaded), MFM_OUT_OF_MEMORY, "a network larger than memory");

  // Training.
  numbers data(64 * 10, 1.0f);
  data[100] = std::numeric_limits<float>::infinity();
  expect(session.try_train(data, loaded), MFM_NOT_FINITE, "infinite data");
  mfm::training_options none;
  none.steps = 0;
  data[100] = 1;
  mfm::training_options large;
  large.batch = std::size_t{1} << 46;
  expect(session.try_train(data, loaded, large), MFM_OUT_OF_MEMORY, "a batch larger than memory");
  names(session.try_train(data, loaded, none), "the number of steps is 0");
  none.steps = 1;
  none.batch = 0;
  names(session.try_train(data, loaded, none), "the batch size is 0");
  mfm::fine_tuning_options unknown_loss;
  unknown_loss.consistency = 99;
  expect(session.try_fine_tune(target(), loaded, unknown_loss, data), MFM_RANGE, "a consistency loss that does not exist");
  for (double dropout : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    mfm::training_options dropped;
    dropped.label_dropout = dropout;
    expect(session.try_train(data, loaded, dropped), MFM_RANGE, "a label dropout that is no share");
  }
  for (double strength : {0.0, -1.0, std::numeric_limits<double>::infinity()}) {
    mfm::fine_tuning_options tuning;
    tuning.strength = strength;
    expect(session.try_fine_tune(target(), loaded, tuning, data), MFM_RANGE, "a strength that is not positive");
  }
  for (double follow : {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    mfm::fine_tuning_options tuning;
    tuning.follow = follow;
    expect(session.try_fine_tune(target(), loaded, tuning, data), MFM_RANGE, "a weight that is negative or not finite");
  }
  mfm::fine_tuning_options hopeless;
  hopeless.steps = 2;
  hopeless.batch = 4;
  expect(session.try_fine_tune([](mfm::batch, mfm::span<float> v) { for (float& x : v) x = -INFINITY; }, loaded, hopeless, data), MFM_NOT_FINITE,
         "a reward that forbids everything");
  mfm::training_options small;
  small.batch = 2;
  cancel = true;
  expect(session.try_train(data, loaded, small), MFM_CANCELLED, "training is cancelled");
  cancel = false;
  CHECK(!loaded);

  std::printf("%zu distinct codes\n", codes.size());
  CHECK(codes.size() == 15);
  // Nothing is done to what is null.
  mfm_model_free(nullptr);
  mfm_session_close(nullptr);
  mfm_error_free(nullptr);
  mfm_bytes_free(nullptr);
  CHECK(mfm_error_code(nullptr) == MFM_OK);
  return finish();
}
