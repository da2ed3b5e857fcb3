// The C functions of mfm.h: they read options and pointers, catch what is thrown, and pass everything on to Rust.
#include "shim.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#if defined(__unix__)
#include <pthread.h>
#endif

#include "mfm-ffi/src/bridge.rs.h"

namespace detail = mfm::detail;

// Structures that begin with their size end with their last field: where padding followed it, the next field would take its place, and older hosts leave anything there.
#define ENDS_WITH(structure, field) static_assert(sizeof(structure) == offsetof(structure, field) + sizeof(structure::field))
ENDS_WITH(mfm_model_options, graphs);
ENDS_WITH(mfm_architecture, reserved);
ENDS_WITH(mfm_model_info, reserved);
ENDS_WITH(mfm_progress, mean_reward);
ENDS_WITH(mfm_session_options, log);
ENDS_WITH(mfm_sample_options, steps);
ENDS_WITH(mfm_posterior_options, steps);
ENDS_WITH(mfm_query, guidance_count);
ENDS_WITH(mfm_reward, value_and_gradient);
ENDS_WITH(mfm_value_options, effective_sample_sizes);
ENDS_WITH(mfm_steer_options, threshold);
ENDS_WITH(mfm_search_options, power);
ENDS_WITH(mfm_training_options, follow);

static_assert(std::string_view(MFM_VERSION) == MFM_CRATE_VERSION, "mfm.h and Cargo.toml tell different versions");

struct mfm_error {
  mfm_code code;
  std::string message;
};

struct mfm_bytes {
  rust::Vec<std::uint8_t> bytes;
};

namespace {

/// What mfm_model_describe() tells, and what that points to.
struct Told {
  std::string path, objective, data, device;
  rust::Vec<double> guidance, mean, scale;
  mfm_model_info info;
};

}  // namespace

struct mfm_model {
  rust::Box<detail::Model> model;
  std::shared_ptr<const Told> told;
};

struct mfm_session {
  rust::Box<detail::Session> session;
  std::shared_ptr<const Told> told;  // Kept with the model.
  mfm_session_options options;
};

namespace mfm::detail {

template <class Callback>
std::int32_t Host::caught(Callback&& callback) const noexcept {
  try {
    return callback();
  } catch (const std::exception& exception) {
    try {
      message_ = exception.what();
    } catch (...) {  // The code alone must do.
    }
    return MFM_CALLBACK_THREW;
  } catch (...) {
    return MFM_CALLBACK_THREW_OTHER;
  }
}

std::int32_t Host::value(rust::Slice<const float> x, std::size_t dimension, rust::Slice<float> values) const noexcept {
  if (!reward_) return MFM_INTERNAL;
  return caught([&] { return reward_->value(reward_->context, x.data(), values.size(), dimension, values.data()); });
}

std::int32_t Host::value_and_gradient(rust::Slice<const float> x, std::size_t dimension, rust::Slice<float> values,
                                      rust::Slice<float> gradients) const noexcept {
  if (!has_gradient()) return MFM_INTERNAL;
  return caught([&] {
    return reward_->value_and_gradient(reward_->context, x.data(), values.size(), dimension, values.data(), gradients.data());
  });
}

std::int32_t Host::progress(const Progress& p) const noexcept {
  if (!session_.progress) return MFM_OK;
  const mfm_progress told{sizeof(mfm_progress), p.step,        p.steps,  p.effective_sample_size, p.largest_weight, p.correction_norm,
                          p.acceptance,         p.best_reward, p.loss,   p.gradient_norm,         p.mean_reward};
  return caught([&] { return session_.progress(session_.context, &told); });
}

void Host::log(std::uint32_t level, rust::Str message) const noexcept {
  if (!session_.log) return;
  caught([&] {
    session_.log(session_.context, static_cast<mfm_log_level>(level), std::string(message).c_str());
    return 0;
  });
}

}  // namespace mfm::detail

namespace {

/// A mistake that is found before Rust is called.
struct Mistake {
  mfm_code code;
  const char* message;
};

mfm_error exhausted{MFM_OUT_OF_MEMORY, "there is no memory left, not even for an error"};

mfm_error* fail(mfm_code code, const char* message) noexcept {
  try {
    return new mfm_error{code, message};
  } catch (...) {
    return &exhausted;
  }
}

/// While it lives, nobody cancels the thread: glibc does that by an exception, which neither Rust nor `noexcept` lets through. What comes meanwhile is done later.
class Uncancelled {
#if defined(__unix__)
 public:
  Uncancelled() noexcept { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~Uncancelled() { pthread_setcancelstate(before_, nullptr); }
  Uncancelled(const Uncancelled&) = delete;
  Uncancelled& operator=(const Uncancelled&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
#endif
};

template <class Body>
mfm_error* call(Body&& body) noexcept {
  [[maybe_unused]] const Uncancelled uncancelled;
  try {
    body();
    return nullptr;
  } catch (const rust::Error& error) {
    // "CODE:MESSAGE", as mfm_ffi::failure::Failure writes it.
    char* message = nullptr;
    const long code = std::strtol(error.what(), &message, 10);
    return *message == ':' ? fail(static_cast<mfm_code>(code), message + 1) : fail(MFM_INTERNAL, error.what());
  } catch (const Mistake& mistake) {
    return fail(mistake.code, mistake.message);
  } catch (const std::bad_alloc&) {
    return fail(MFM_OUT_OF_MEMORY, "there is no memory left");
  } catch (const std::exception& exception) {
    return fail(MFM_INTERNAL, exception.what());
  } catch (...) {
    return fail(MFM_INTERNAL, "an exception of an unknown type");
  }
}

template <class T>
T& need(T* pointer, const char* message) {
  if (!pointer) throw Mistake{MFM_NULL_POINTER, message};
  return *pointer;
}

template <class T>
rust::Slice<T> slice(T* pointer, std::size_t length, const char* message) {
  if (length == 0) return {};
  need(pointer, message);
  if (length > PTRDIFF_MAX / sizeof(T)) throw Mistake{MFM_LENGTH, "a length is beyond what can be addressed"};
  return {pointer, length};
}

/// The options of the host, whichever version of the header it was built with: the fields that it does not have keep their defaults, and those that we do not
/// have must be at theirs, which is 0.
template <class Options>
Options read(const Options* given, Options options, const char* without_size = "the options do not begin with their size") {
  if (!given) return options;
  const std::size_t size = given->size;
  if (size < sizeof(std::size_t) || size > 4096) throw Mistake{MFM_RANGE, without_size};
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  if (size > sizeof(Options) && std::any_of(bytes + sizeof(Options), bytes + size, [](unsigned char byte) { return byte != 0; }))
    throw Mistake{MFM_UNSUPPORTED, "these are options of a newer version of mfm, that this one does not know"};
  std::memcpy(&options, given, std::min(size, sizeof(Options)));
  options.size = sizeof(Options);
  return options;
}

/// A switch of the host's.
bool is_on(std::uint32_t given, const char* message) {
  if (given > 1) throw Mistake{MFM_RANGE, message};
  return given == 1;
}

/// A reward, whichever version of the header it was built with.
mfm_reward read_reward(const mfm_reward* given) {
  const mfm_reward reward = read(&need(given, "the reward is null"), mfm_reward_default(), "the reward does not begin with its size");
  need(reinterpret_cast<const char*>(reward.value), "the reward's value callback is null");
  return reward;
}

rust::Slice<const std::uint8_t> text(const char* text) {
  return text ? rust::Slice<const std::uint8_t>{reinterpret_cast<const std::uint8_t*>(text), std::strlen(text)}
              : rust::Slice<const std::uint8_t>{};
}

/// Where a model is to live, of the options that say so.
template <class Options>
detail::Place place(const Options& options) {
  return {text(options.device), options.precision, is_on(options.graphs, "graphs must be 0 or 1")};
}

rust::Slice<const std::uint8_t> path_of(const char* path, std::size_t length) {
  return slice(reinterpret_cast<const std::uint8_t*>(path), length, "the path is null");
}

rust::Slice<const std::size_t> labels_of(const std::size_t* labels, std::size_t count) { return slice(labels, count, "the labels are null"); }
rust::Slice<const double> guidance_of(const double* scales, std::size_t count) { return slice(scales, count, "the guidance is null"); }

detail::Draw draw(const mfm_draw& d) {
  return {d.seed, d.stream, labels_of(d.labels, d.label_count), guidance_of(d.guidance, d.guidance_count)};
}

detail::SampleOptions bridged(const mfm_sample_options* given) {
  const auto o = read(given, mfm_sample_options_default());
  return {draw(o.draw), o.method, o.steps};
}

detail::PosteriorOptions bridged(const mfm_posterior_options* given) {
  const auto o = read(given, mfm_posterior_options_default());
  return {draw(o.draw), o.time, o.draws, o.steps};
}

detail::Query bridged(const mfm_query* given) {
  const auto q = read(given, mfm_query_default());
  return {q.s, q.u, q.t, labels_of(q.labels, q.label_count), guidance_of(q.guidance, q.guidance_count)};
}

detail::ValueOptions bridged(const mfm_value_options& o) { return {draw(o.draw), o.time, o.draws}; }

/// Where the effective sample sizes go, if anywhere.
rust::Slice<float> sizes_of(const mfm_value_options& o, std::size_t states) {
  return o.effective_sample_sizes ? slice(o.effective_sample_sizes, states, "") : rust::Slice<float>{};
}

detail::SteerOptions bridged(const mfm_steer_options* given) {
  const auto o = read(given, mfm_steer_options_default());
  const bool sde = is_on(o.sde, "sde must be 0 or 1"), heun = is_on(o.heun, "heun must be 0 or 1");
  return {draw(o.draw), o.estimator,    o.steps,      o.draws,   o.moves,   o.coupling, sde,     heun,
          o.start,      o.window_start, o.window_end, o.damping, o.rescale, o.clip,     o.power, o.threshold};
}

detail::SearchOptions bridged(const mfm_search_options* given) {
  const auto o = read(given, mfm_search_options_default());
  return {draw(o.draw), o.steps, o.draws, o.coupling, is_on(o.keep_overall, "keep_overall must be 0 or 1"), o.power};
}

detail::TrainingOptions bridged(const mfm_training_options* given, const mfm_training_options& defaults) {
  const auto o = read(given, defaults);
  return {o.seed,    o.steps, o.batch,       o.learning_rate, o.warm_up,  o.weight_decay,
          o.average, o.clip,  o.consistency, o.label_dropout, o.strength, o.draws, o.follow};
}

/// Where numbers are, if there are any.
const double* numbers(const rust::Vec<double>& all) { return all.empty() ? nullptr : all.data(); }

/// The handle of a model, with what is told about it.
mfm_model* handle(rust::Box<detail::Model> model) {
  detail::Info info = model->info();
  const auto told = std::make_shared<Told>(Told{std::string(info.path), std::string(info.objective), std::string(info.data), std::string(info.device),
                                                std::move(info.guidance), std::move(info.mean), std::move(info.scale), {}});
  told->info = {sizeof(mfm_model_info),   info.dimension,         info.labels,         info.parameters,      info.training_steps,   info.seed,
                told->path.c_str(),       told->objective.c_str(), told->data.c_str(), told->device.c_str(), numbers(told->guidance), told->guidance.size(),
                numbers(told->mean),      numbers(told->scale),   info.jumps, 0};
  return new mfm_model{std::move(model), told};
}

mfm_session& session_of(mfm_session* session) { return need(session, "the session is null"); }

/// Deletes a tensor that was handed to us, unless it was handed on.
struct Tensor {
  DLManagedTensorVersioned* pointer;
  ~Tensor();
  DLManagedTensorVersioned* release() { return std::exchange(pointer, nullptr); }
};

}  // namespace

// The head of dlpack.h's structure, which all versions share: enough to delete one.
struct DLManagedTensorVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
};

Tensor::~Tensor() {
  if (pointer && pointer->deleter) pointer->deleter(pointer);
}

extern "C" {

uint32_t mfm_abi_version(void) noexcept { return MFM_ABI_VERSION; }
const char* mfm_version(void) noexcept { return MFM_VERSION; }
const char* mfm_code_name(int code) noexcept {
  static constexpr const char* names[] = {
      "MFM_OK",         "MFM_CANCELLED", "MFM_CALLBACK_FAILED", "MFM_CALLBACK_THREW", "MFM_CALLBACK_THREW_OTHER", "MFM_NOT_FINITE", "MFM_NULL_POINTER",
      "MFM_LENGTH",     "MFM_EMPTY",     "MFM_RANGE",           "MFM_FILE",           "MFM_BAD_MODEL",            "MFM_OUT_OF_MEMORY",
      "MFM_UNSUPPORTED", "MFM_BUSY",     "MFM_DLPACK",          "MFM_DEVICE",         "MFM_INTERNAL",             "MFM_STOP"};
  static_assert(std::size(names) == MFM_STOP + 1);
  return code >= 0 && code <= MFM_STOP ? names[code] : "unknown";
}

mfm_code mfm_error_code(const mfm_error* error) noexcept { return error ? error->code : MFM_OK; }
const char* mfm_error_message(const mfm_error* error) noexcept { return error ? error->message.c_str() : ""; }
void mfm_error_free(mfm_error* error) noexcept {
  if (error != &exhausted) delete error;
}

mfm_error* mfm_model_load(const char* path, size_t path_length, const mfm_model_options* options, mfm_model** model) noexcept {
  return call([&] {
    mfm_model*& out = need(model, "the place for the model is null");
    out = handle(detail::load_model(path_of(path, path_length), place(read(options, mfm_model_options_default()))));
  });
}

mfm_error* mfm_model_load_memory(const void* bytes, size_t length, const mfm_model_options* options, mfm_model** model) noexcept {
  return call([&] {
    mfm_model*& out = need(model, "the place for the model is null");
    const auto memory = slice(static_cast<const std::uint8_t*>(bytes), length, "the model's bytes are null");
    out = handle(detail::load_model_from_memory(memory, place(read(options, mfm_model_options_default()))));
  });
}

mfm_error* mfm_model_create(const mfm_architecture* architecture, const float* data, size_t length, mfm_model** model) noexcept {
  return call([&] {
    mfm_model*& out = need(model, "the place for the model is null");
    const auto a = read(&need(architecture, "the architecture is null"), mfm_architecture_default(0));
    if (a.reserved != 0) throw Mistake{MFM_RANGE, "the architecture's reserved number must be 0"};
    const detail::Architecture form{a.dimension, a.width, a.depth, a.frequencies, a.labels, a.seed, is_on(a.raw, "raw must be 0 or 1")};
    out = handle(detail::create_model(form, slice(data, length, "the data is null"), place(a)));
  });
}

mfm_error* mfm_model_describe(const mfm_model* model, mfm_model_info* info) noexcept {
  return call([&] {
    const mfm_model& described = need(model, "the model is null");
    const std::size_t size = need(info, "the place for the description is null").size;
    if (size < sizeof(std::size_t) || size > 4096) throw Mistake{MFM_RANGE, "the description does not begin with its size"};
    const std::size_t known = std::min(size, sizeof(mfm_model_info));
    std::memcpy(info, &described.told->info, known);
    std::memset(reinterpret_cast<unsigned char*>(info) + known, 0, size - known);
    info->size = size;
  });
}

mfm_error* mfm_model_save(const mfm_model* model, const char* path, size_t path_length) noexcept {
  return call([&] { need(model, "the model is null").model->save(path_of(path, path_length)); });
}

mfm_error* mfm_model_save_memory(const mfm_model* model, mfm_bytes** bytes) noexcept {
  return call([&] {
    mfm_bytes*& out = need(bytes, "the place for the bytes is null");
    out = new mfm_bytes{need(model, "the model is null").model->save_to_memory()};
  });
}

void mfm_model_free(mfm_model* model) noexcept {
  [[maybe_unused]] const Uncancelled uncancelled;
  delete model;
}

const void* mfm_bytes_data(const mfm_bytes* bytes) noexcept { return bytes ? bytes->bytes.data() : nullptr; }
size_t mfm_bytes_size(const mfm_bytes* bytes) noexcept { return bytes ? bytes->bytes.size() : 0; }
void mfm_bytes_free(mfm_bytes* bytes) noexcept { delete bytes; }

mfm_error* mfm_session_open(const mfm_model* model, const mfm_session_options* options, mfm_session** session) noexcept {
  return call([&] {
    mfm_session*& out = need(session, "the place for the session is null");
    const auto o = read(options, mfm_session_options_default());
    const mfm_model& opened = need(model, "the model is null");
    out = new mfm_session{opened.model->open(o.threads, reinterpret_cast<std::uintptr_t>(o.stream)), opened.told, o};
  });
}

void mfm_session_close(mfm_session* session) noexcept {
  [[maybe_unused]] const Uncancelled uncancelled;
  delete session;
}

mfm_error* mfm_sample(mfm_session* session, const mfm_sample_options* options, float* samples, size_t length) noexcept {
  return call([&] {
    mfm_session& s = session_of(session);
    const detail::Host host(s.options, nullptr);
    s.session->sample(host, bridged(options), slice(samples, length, "the place for the samples is null"));
  });
}

mfm_error* mfm_posterior(mfm_session* session, const float* states, size_t states_length, const mfm_posterior_options* options, float* draws,
                         size_t draws_length) noexcept {
  return call([&] {
    mfm_session& s = session_of(session);
    const detail::Host host(s.options, nullptr);
    s.session->posterior(host, slice(states, states_length, "the states are null"), bridged(options),
                         slice(draws, draws_length, "the place for the draws is null"));
  });
}

mfm_error* mfm_velocity(mfm_session* session, const mfm_query* query, const float* x, size_t x_length, const float* states,
                        size_t states_length, float* velocity, size_t velocity_length) noexcept {
  return call([&] {
    session_of(session).session->velocity(bridged(query), slice(x, x_length, "x is null"), slice(states, states_length, "the states are null"),
                                          slice(velocity, velocity_length, "the place for the velocity is null"));
  });
}

mfm_error* mfm_value(mfm_session* session, const mfm_reward* reward, const float* states, size_t states_length,
                     const mfm_value_options* options, float* values, size_t values_length) noexcept {
  return call([&] {
    mfm_session& s = session_of(session);
    const mfm_reward r = read_reward(reward);
    const auto o = read(options, mfm_value_options_default());
    s.session->value(detail::Host(s.options, &r), slice(states, states_length, "the states are null"), bridged(o),
                     slice(values, values_length, "the place for the values is null"), sizes_of(o, values_length));
  });
}

mfm_error* mfm_value_and_gradient(mfm_session* session, const mfm_reward* reward, const float* states, size_t states_length,
                                  const mfm_value_options* options, float* values, size_t values_length, float* gradients,
                                  size_t gradients_length) noexcept {
  return call([&] {
    mfm_session& s = session_of(session);
    const mfm_reward r = read_reward(reward);
    const auto o = read(options, mfm_value_options_default());
    s.session->value_and_gradient(detail::Host(s.options, &r), slice(states, states_length, "the states are null"), bridged(o),
                                  slice(values, values_length, "the place for the values is null"),
                                  slice(gradients, gradients_length, "the place for the gradients is null"), sizes_of(o, values_length));
  });
}

mfm_error* mfm_steer(mfm_session* session, const mfm_reward* reward, const mfm_steer_options* options, float* samples,
                     size_t length) noexcept {
  return call([&] {
    mfm_session& s = session_of(session);
    const mfm_reward r = read_reward(reward);
    s.session->steer(detail::Host(s.options, &r), bridged(options), slice(samples, length, "the place for the samples is null"));
  });
}

mfm_error* mfm_search(mfm_session* session, const mfm_reward* reward, const mfm_search_options* options, float* samples,
                      size_t samples_length, float* rewards, size_t rewards_length) noexcept {
  return call([&] {
    mfm_session& s = session_of(session);
    const mfm_reward r = read_reward(reward);
    s.session->search(detail::Host(s.options, &r), bridged(options), slice(samples, samples_length, "the place for the samples is null"),
                      slice(rewards, rewards_length, "the place for the rewards is null"));
  });
}

mfm_error* mfm_train(mfm_session* session, const float* data, size_t length, const size_t* labels, size_t label_count,
                     const mfm_training_options* options, mfm_model** trained) noexcept {
  return call([&] {
    mfm_session& s = session_of(session);
    mfm_model*& out = need(trained, "the place for the model is null");
    out = handle(s.session->train(detail::Host(s.options, nullptr), slice(data, length, "the data is null"), labels_of(labels, label_count),
                                  bridged(options, mfm_training_options_default())));
  });
}

mfm_error* mfm_fine_tune(mfm_session* session, const mfm_reward* reward, const float* data, size_t length,
                         const mfm_training_options* options, mfm_model** tuned) noexcept {
  return call([&] {
    mfm_session& s = session_of(session);
    mfm_model*& out = need(tuned, "the place for the model is null");
    const mfm_reward r = read_reward(reward);
    out = handle(s.session->fine_tune(detail::Host(s.options, &r), slice(data, length, "the data is null"),
                                      bridged(options, mfm_fine_tuning_options_default())));
  });
}

mfm_error* mfm_sample_dlpack(mfm_session* session, const mfm_sample_options* options, size_t count,
                             DLManagedTensorVersioned** samples) noexcept {
  return call([&] {
    mfm_session& s = session_of(session);
    DLManagedTensorVersioned*& out = need(samples, "the place for the samples is null");
    out = s.session->sample_dlpack(detail::Host(s.options, nullptr), bridged(options), count);
  });
}

mfm_error* mfm_posterior_dlpack(mfm_session* session, DLManagedTensorVersioned* states, const mfm_posterior_options* options,
                                DLManagedTensorVersioned** draws) noexcept {
  return call([&] {
    Tensor owned{states};
    mfm_session& s = session_of(session);
    DLManagedTensorVersioned*& out = need(draws, "the place for the draws is null");
    need(states, "the states are null");
    const auto o = bridged(options);
    out = s.session->posterior_dlpack(detail::Host(s.options, nullptr), owned.release(), o);
  });
}

mfm_error* mfm_steer_dlpack(mfm_session* session, const mfm_reward* reward, const mfm_steer_options* options, size_t count,
                            DLManagedTensorVersioned** samples) noexcept {
  return call([&] {
    mfm_session& s = session_of(session);
    DLManagedTensorVersioned*& out = need(samples, "the place for the samples is null");
    const mfm_reward r = read_reward(reward);
    out = s.session->steer_dlpack(detail::Host(s.options, &r), bridged(options), count);
  });
}

}  // extern "C"
