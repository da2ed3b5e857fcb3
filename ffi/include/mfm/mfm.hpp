/**
 * @file mfm.hpp
 * @brief Meta Flow Maps in C++17: header-only, over mfm.h, so that only the C ABI crosses the library's boundary.
 *
 * Every call comes twice. `try_x()` answers with an mfm::status and never throws; `x()` throws mfm::error, and lets an exception of a callback of
 * yours pass as itself. Under -fno-exceptions only the first kind is there. See mfm.h for conventions, shapes, errors and thread rules: each
 * function here does what the one of the same name does there.
 */
#ifndef MFM_MFM_HPP
#define MFM_MFM_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "answer.hpp"
#include "mfm.h"
#include "options.hpp"
#include "path.hpp"
#include "reward.hpp"
#include "span.hpp"
#include "status.hpp"

namespace mfm {
inline namespace v1 {

/** The version of the library that runs, such as "0.1.0"; ::MFM_VERSION is that of the headers. */
inline const char* version() noexcept { return mfm_version(); }
/** The name of a code, such as "MFM_RANGE". */
inline const char* name(mfm_code code) noexcept { return mfm_code_name(code); }

/** Gives a DLPack tensor back by its own deleter, whoever made it. Needs no dlpack.h: all versions of the structure begin alike. */
struct tensor_deleter {
  /** Deletes it. */
  void operator()(DLManagedTensorVersioned* done) const noexcept {
    struct {
      std::uint32_t major, minor;
      void* context;
      void (*deleter)(DLManagedTensorVersioned*);
    } head;
    std::memcpy(&head, static_cast<const void*>(done), sizeof head);
    if (head.deleter) head.deleter(done);
  }
};
/** The owner of a DLPack tensor, `.release()` of which hands it on. */
using tensor = std::unique_ptr<DLManagedTensorVersioned, tensor_deleter>;

}  // namespace v1
inline namespace MFM_NAMESPACE {

/** How to open a session. */
struct session_options {
  /** Threads, the caller's among them; results do not depend on it. */
  std::size_t threads = 1;
  /** A CUDA stream of the host's, in whose order DLPack tensors come and go; null for none, as it must be on the CPU. */
  void* stream = nullptr;
  /** Called after each step, and within long ones; see mfm::progress_callback for its answers, of which `false` stops the call with ::MFM_CANCELLED. */
  progress_callback progress = {};
  /** Called with a line for the log. What it throws is lost. */
  std::function<void(mfm_log_level, const char*)> log = {};
};

/** A model, which never changes, and is shared between threads freely. Copies are of the handle: there is one network. A default-constructed one is empty. */
class model {
 public:
  /** No model. */
  model() noexcept = default;
  /** Takes a handle over. */
  explicit model(mfm_model* handle) : handle_(handle, free()) {}

  /** mfm_model_load() */
  static status try_load(path_view path, model& loaded, const mfm_model_options& options = model_options()) noexcept {
    return loaded.take([&](mfm_model** out) { return mfm_model_load(path.data(), path.size(), &options, out); });
  }
  /** mfm_model_load_memory() */
  static status try_load_memory(span<const unsigned char> bytes, model& loaded, const mfm_model_options& options = model_options()) noexcept {
    return loaded.take([&](mfm_model** out) { return mfm_model_load_memory(bytes.data(), bytes.size(), &options, out); });
  }
  /** mfm_model_create() */
  static status try_create(const mfm_architecture& form, span<const float> data, model& created) noexcept {
    return created.take([&](mfm_model** out) { return mfm_model_create(&form, data.data(), data.size(), out); });
  }
  /** mfm_model_save() */
  status try_save(path_view path) const noexcept { return status(mfm_model_save(get(), path.data(), path.size())); }
  /** mfm_model_save_memory(): `bytes` is replaced. */
  status try_save_memory(std::vector<unsigned char>& bytes) const noexcept {
    mfm_bytes* handle = nullptr;
    status outcome(mfm_model_save_memory(get(), &handle));
    if (!outcome.ok()) return outcome;
    const std::unique_ptr<mfm_bytes, void (*)(mfm_bytes*)> saved(handle, [](mfm_bytes* done) { mfm_bytes_free(done); });
    const auto* data = static_cast<const unsigned char*>(mfm_bytes_data(handle));
#if MFM_EXCEPTIONS
    try {
      bytes.assign(data, data + mfm_bytes_size(handle));
    } catch (const std::exception&) {
      return status::out_of_memory();
    }
#else
    bytes.assign(data, data + mfm_bytes_size(handle));
#endif
    return outcome;
  }
  /** mfm_model_describe(); of an empty model all is zero. */
  mfm_model_info info() const& noexcept {
    mfm_model_info told{};
    told.size = sizeof told;
    mfm_error_free(mfm_model_describe(get(), &told));
    return told;
  }
  /** What it points to lives as long as the model, and a temporary one would be gone. */
  mfm_model_info info() const&& = delete;

#if MFM_EXCEPTIONS
  /** mfm_model_load() */
  static model load(path_view path, const mfm_model_options& options = model_options()) {
    model loaded;
    detail::check(try_load(path, loaded, options));
    return loaded;
  }
  /** mfm_model_load_memory() */
  static model load_memory(span<const unsigned char> bytes, const mfm_model_options& options = model_options()) {
    model loaded;
    detail::check(try_load_memory(bytes, loaded, options));
    return loaded;
  }
  /** mfm_model_create() */
  static model create(const mfm_architecture& form, span<const float> data = {}) {
    model created;
    detail::check(try_create(form, data, created));
    return created;
  }
  /** mfm_model_save() */
  void save(path_view path) const { detail::check(try_save(path)); }
  /** mfm_model_save_memory() */
  std::vector<unsigned char> save_memory() const {
    std::vector<unsigned char> bytes;
    detail::check(try_save_memory(bytes));
    return bytes;
  }
#endif

  /** Numbers in one item; 0 for an empty model. */
  std::size_t dimension() const noexcept { return info().dimension; }
  /** Whether there is a model. */
  explicit operator bool() const noexcept { return static_cast<bool>(handle_); }
  /** The handle of mfm.h, which stays ours. */
  mfm_model* get() const noexcept { return handle_.get(); }

 private:
  template <class Load>
  status take(Load&& load) noexcept {
    mfm_model* made = nullptr;
    status outcome(load(&made));
    return outcome.ok() ? own(made) : std::move(outcome);
  }
  /// Takes a handle over, which is given back if there is no memory for that.
  status own(mfm_model* made) noexcept {
#if MFM_EXCEPTIONS
    try {
      handle_ = std::shared_ptr<mfm_model>(made, free());
    } catch (const std::bad_alloc&) {
      return status::out_of_memory();
    }
#else
    handle_ = std::shared_ptr<mfm_model>(made, free());
#endif
    return status();
  }
  friend class session;
  struct free {
    void operator()(mfm_model* handle) const noexcept { mfm_model_free(handle); }
  };
  std::shared_ptr<mfm_model> handle_;
};

/** What one thread needs beside a model: one call at a time. Keeps the model alive. A default-constructed one is empty. */
class session {
 public:
  /** No session. */
  session() noexcept = default;

  /** mfm_session_open() */
  static status try_open(const model& of, session& opened, session_options options = {}) noexcept {
    std::unique_ptr<callbacks> host(new (std::nothrow) callbacks{std::move(options.progress), std::move(options.log), {}});
    if (!host) return status::out_of_memory();
    mfm_session_options c = mfm_session_options_default();
    c.threads = options.threads;
    c.stream = options.stream;
    c.context = host.get();
    if (host->progress) c.progress = &callbacks::tell;
    if (host->log) c.log = &callbacks::say;
    mfm_session* handle = nullptr;
    status outcome(mfm_session_open(of.get(), &c, &handle));
    if (outcome.ok()) {
      opened.handle_.reset(handle);
      opened.host_ = std::move(host);
    }
    return outcome;
  }

  /** mfm_sample() */
  status try_sample(span<float> samples, const mfm_sample_options& options = sample_options()) noexcept {
    return settle(mfm_sample(get(), &options, samples.data(), samples.size()));
  }
  /** mfm_posterior() */
  status try_posterior(span<const float> states, span<float> draws, const mfm_posterior_options& options = posterior_options()) noexcept {
    return settle(mfm_posterior(get(), states.data(), states.size(), &options, draws.data(), draws.size()));
  }
  /** mfm_velocity() */
  status try_velocity(const mfm_query& question, span<const float> x, span<const float> states, span<float> velocity) noexcept {
    return settle(mfm_velocity(get(), &question, x.data(), x.size(), states.data(), states.size(), velocity.data(), velocity.size()));
  }
  /** mfm_value() */
  template <class R>
  status try_value(R&& host, span<const float> states, span<float> values, const mfm_value_options& options = value_options()) noexcept {
    return with(host, [&](const mfm_reward* r) {
      return mfm_value(get(), r, states.data(), states.size(), &options, values.data(), values.size());
    });
  }
  /** mfm_value_and_gradient() */
  template <class R>
  status try_value_and_gradient(R&& host, span<const float> states, span<float> values, span<float> gradients,
                                const mfm_value_options& options = value_options()) noexcept {
    return with(host, [&](const mfm_reward* r) {
      return mfm_value_and_gradient(get(), r, states.data(), states.size(), &options, values.data(), values.size(), gradients.data(),
                                    gradients.size());
    });
  }
  /** mfm_steer() */
  template <class R>
  status try_steer(R&& host, span<float> samples, const mfm_steer_options& options = steer_options()) noexcept {
    return with(host, [&](const mfm_reward* r) { return mfm_steer(get(), r, &options, samples.data(), samples.size()); });
  }
  /** mfm_search() */
  template <class R>
  status try_search(R&& host, span<float> samples, span<float> rewards, const mfm_search_options& options = search_options()) noexcept {
    return with(host, [&](const mfm_reward* r) {
      return mfm_search(get(), r, &options, samples.data(), samples.size(), rewards.data(), rewards.size());
    });
  }
  /** mfm_train() */
  status try_train(span<const float> data, model& trained, const mfm_training_options& options = training_options(),
                   span<const std::size_t> labels = {}) noexcept {
    mfm_model* made = nullptr;
    status outcome = settle(mfm_train(get(), data.data(), data.size(), labels.data(), labels.size(), &options, &made));
    return outcome.ok() ? trained.own(made) : std::move(outcome);
  }
  /** Options with the defaults of fine-tuning. */
  status try_train(span<const float> data, model& trained, const fine_tuning_options& options, span<const std::size_t> labels = {}) = delete;
  /** mfm_fine_tune() */
  template <class R>
  status try_fine_tune(R&& host, model& tuned, const mfm_training_options& options = fine_tuning_options(),
                       span<const float> data = {}) noexcept {
    mfm_model* made = nullptr;
    status outcome =
        with(host, [&](const mfm_reward* r) { return mfm_fine_tune(get(), r, data.data(), data.size(), &options, &made); });
    return outcome.ok() ? tuned.own(made) : std::move(outcome);
  }
  /** Options with the defaults of training. */
  template <class R>
  status try_fine_tune(R&& host, model& tuned, const training_options& options, span<const float> data = {}) = delete;
  /** mfm_sample_dlpack() */
  status try_sample_dlpack(std::size_t count, DLManagedTensorVersioned*& samples, const mfm_sample_options& options = sample_options()) noexcept {
    return settle(mfm_sample_dlpack(get(), &options, count, &samples));
  }
  /** mfm_sample_dlpack() */
  status try_sample_dlpack(std::size_t count, tensor& samples, const mfm_sample_options& options = sample_options()) noexcept {
    return owned(samples, [&](DLManagedTensorVersioned*& made) { return try_sample_dlpack(count, made, options); });
  }
  /** mfm_posterior_dlpack(): `states` is consumed, also on failure. */
  status try_posterior_dlpack(DLManagedTensorVersioned* states, DLManagedTensorVersioned*& draws,
                              const mfm_posterior_options& options = posterior_options()) noexcept {
    return settle(mfm_posterior_dlpack(get(), states, &options, &draws));
  }
  /** mfm_posterior_dlpack() */
  status try_posterior_dlpack(tensor states, tensor& draws, const mfm_posterior_options& options = posterior_options()) noexcept {
    return owned(draws, [&](DLManagedTensorVersioned*& made) { return try_posterior_dlpack(states.release(), made, options); });
  }
  /** mfm_steer_dlpack() */
  template <class R>
  status try_steer_dlpack(R&& host, std::size_t count, DLManagedTensorVersioned*& samples,
                          const mfm_steer_options& options = steer_options()) noexcept {
    return with(host, [&](const mfm_reward* r) { return mfm_steer_dlpack(get(), r, &options, count, &samples); });
  }
  /** mfm_steer_dlpack() */
  template <class R>
  status try_steer_dlpack(R&& host, std::size_t count, tensor& samples, const mfm_steer_options& options = steer_options()) noexcept {
    return owned(samples, [&](DLManagedTensorVersioned*& made) { return try_steer_dlpack(host, count, made, options); });
  }

#if MFM_EXCEPTIONS
  /** mfm_session_open() */
  explicit session(const model& of, session_options options = {}) { detail::check(try_open(of, *this, std::move(options))); }
  /** mfm_sample() */
  void sample(span<float> samples, const mfm_sample_options& options = sample_options()) { detail::check(try_sample(samples, options)); }
  /** mfm_posterior() */
  void posterior(span<const float> states, span<float> draws, const mfm_posterior_options& options = posterior_options()) {
    detail::check(try_posterior(states, draws, options));
  }
  /** mfm_velocity() */
  void velocity(const mfm_query& question, span<const float> x, span<const float> states, span<float> velocity) {
    detail::check(try_velocity(question, x, states, velocity));
  }
  /** mfm_value() */
  template <class R>
  void value(R&& host, span<const float> states, span<float> values, const mfm_value_options& options = value_options()) {
    detail::check(try_value(host, states, values, options));
  }
  /** mfm_value_and_gradient() */
  template <class R>
  void value_and_gradient(R&& host, span<const float> states, span<float> values, span<float> gradients,
                          const mfm_value_options& options = value_options()) {
    detail::check(try_value_and_gradient(host, states, values, gradients, options));
  }
  /** mfm_steer() */
  template <class R>
  void steer(R&& host, span<float> samples, const mfm_steer_options& options = steer_options()) {
    detail::check(try_steer(host, samples, options));
  }
  /** mfm_search() */
  template <class R>
  void search(R&& host, span<float> samples, span<float> rewards, const mfm_search_options& options = search_options()) {
    detail::check(try_search(host, samples, rewards, options));
  }
  /** mfm_train() */
  model train(span<const float> data, const mfm_training_options& options = training_options(), span<const std::size_t> labels = {}) {
    model trained;
    detail::check(try_train(data, trained, options, labels));
    return trained;
  }
  /** Options with the defaults of fine-tuning. */
  model train(span<const float> data, const fine_tuning_options& options, span<const std::size_t> labels = {}) = delete;
  /** mfm_fine_tune() */
  template <class R>
  model fine_tune(R&& host, const mfm_training_options& options = fine_tuning_options(), span<const float> data = {}) {
    model tuned;
    detail::check(try_fine_tune(host, tuned, options, data));
    return tuned;
  }
  /** Options with the defaults of training. */
  template <class R>
  model fine_tune(R&& host, const training_options& options, span<const float> data = {}) = delete;
  /** mfm_sample_dlpack() */
  [[nodiscard]] tensor sample_dlpack(std::size_t count, const mfm_sample_options& options = sample_options()) {
    tensor samples;
    detail::check(try_sample_dlpack(count, samples, options));
    return samples;
  }
  /** mfm_posterior_dlpack(): `states` is consumed, also on failure. */
  [[nodiscard]] tensor posterior_dlpack(DLManagedTensorVersioned* states, const mfm_posterior_options& options = posterior_options()) {
    return posterior_dlpack(tensor(states), options);
  }
  /** mfm_posterior_dlpack() */
  [[nodiscard]] tensor posterior_dlpack(tensor states, const mfm_posterior_options& options = posterior_options()) {
    tensor draws;
    detail::check(try_posterior_dlpack(std::move(states), draws, options));
    return draws;
  }
  /** mfm_steer_dlpack() */
  template <class R>
  [[nodiscard]] tensor steer_dlpack(R&& host, std::size_t count, const mfm_steer_options& options = steer_options()) {
    tensor samples;
    detail::check(try_steer_dlpack(host, count, samples, options));
    return samples;
  }
#endif

  /** Whether there is a session. */
  explicit operator bool() const noexcept { return static_cast<bool>(handle_); }
  /** The handle of mfm.h, which stays ours. */
  mfm_session* get() const noexcept { return handle_.get(); }

 private:
  struct callbacks {
    progress_callback progress;
    std::function<void(mfm_log_level, const char*)> log;
    detail::catcher caught;

    static int tell(void* context, const mfm_progress* told) {
      auto& self = *static_cast<callbacks*>(context);
      return self.caught.run([&] { return self.progress(*told); });
    }
    static void say(void* context, mfm_log_level level, const char* message) {
      detail::catcher lost;
      lost.run([&] {
        static_cast<callbacks*>(context)->log(level, message);
        return 0;
      });
    }
  };

  status settle(mfm_error* failure) noexcept { return host_ ? host_->caught.settle(failure) : status(failure); }

  /// A tensor that a call made, in the place of its owner.
  template <class Call>
  static status owned(tensor& place, Call&& call) noexcept {
    DLManagedTensorVersioned* made = nullptr;
    status outcome = call(made);
    if (outcome.ok()) place.reset(made);
    return outcome;
  }

  template <class R, class Call>
  status with(R& host, Call&& call) noexcept {
    detail::catcher none;
    detail::reward_call<std::remove_reference_t<R>> made{host, host_ ? host_->caught : none};
    const mfm_reward c = made.c();
    return settle(call(&c));
  }

  // Destroyed after the session, which calls it.
  std::unique_ptr<callbacks> host_;
  struct close {
    void operator()(mfm_session* handle) const noexcept { mfm_session_close(handle); }
  };
  std::unique_ptr<mfm_session, close> handle_;
};

}  // namespace MFM_NAMESPACE
}  // namespace mfm

#endif  // MFM_MFM_HPP
