// Everything that can go wrong has a code of its own, and the process goes on: the same session works after each.
#include "check.hpp"

#include <atomic>
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
  std::atomic<bool> done{false};
  std::atomic<std::size_t> refused{0};
  std::thread other([&] {
    numbers own(dimension);
    while (!done) refused += session.try_sample(own).code() == MFM_BUSY;
  });
  int own = 0, lost = 0;
  while (own < 50) {
    try {
      session.steer([](mfm::batch, mfm::span<float>) { throw own_exception{7}; }, samples, steer);
    } catch (const own_exception&) {
      ++own;
    } catch (const mfm::error& error) {
      // It is the other thread's turn.
      lost += error.code() != MFM_BUSY;
      std::this_thread::yield();
    }
  }
  done = true;
  other.join();
  std::printf("another thread was refused %zu times\n", refused.load());
  CHECK(lost == 0);
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

  // Callbacks.
  const auto throws_exception = [](mfm::batch, mfm::span<float>) { throw std::out_of_range("the host's own words"); };
  const auto throws_int = [](mfm::batch, mfm::span<float>) { throw 42; };
  fails(session.try_steer(throws_exception, samples, steer), MFM_CALLBACK_THREW, "a reward throws a std::exception");
  fails(session.try_steer(throws_int, samples, steer), MFM_CALLBACK_THREW_OTHER, "a reward throws an int");
  fails(session.try_steer([](mfm::batch, mfm::span<float> v) { for (float& x : v) x = std::nanf(""); }, samples, steer), MFM_NOT_FINITE,
        "a reward returns NaN");
  fails(session.try_steer([](mfm::batch, mfm::span<float>) {}, samples, steer), MFM_NOT_FINITE, "a reward writes nothing");
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
  CHECK(escaped.code() == MFM_CALLBACK_THREW && std::string(escaped.message()).find("raw") != std::string::npos);

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

  // Options.
  mfm::posterior_options posterior;
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
  expect(session.try_train(data, loaded, none), MFM_RANGE, "training without steps");
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
  cancel = true;
  expect(session.try_train(data, loaded), MFM_CANCELLED, "training is cancelled");
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
