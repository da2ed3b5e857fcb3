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
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "mfm.h"

#if defined(__cpp_exceptions)
/** 1 where calls that throw are offered. */
#define MFM_EXCEPTIONS 1
#include <exception>
#include <stdexcept>
#else
#define MFM_EXCEPTIONS 0
#endif

/** Meta Flow Maps. */
namespace mfm {
/** Changes with the binary interface of what is inline here. */
inline namespace v1 {

/** A view of `size()` elements that somebody else owns: of a std::vector, std::array, std::span or anything with data() and size(). */
template <class T>
class span {
 public:
  /** No elements. */
  constexpr span() noexcept = default;
  /** `size` elements at `data`. */
  constexpr span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}
  /** All of a container. */
  template <class Container, class = std::enable_if_t<std::is_convertible_v<
                                 std::remove_pointer_t<decltype(std::declval<Container&>().data())> (*)[], T (*)[]>>>
  constexpr span(Container&& container) noexcept : data_(container.data()), size_(container.size()) {}
  /** The first element. */
  constexpr T* data() const noexcept { return data_; }
  /** How many there are. */
  constexpr std::size_t size() const noexcept { return size_; }
  /** An element, which must be there. */
  constexpr T& operator[](std::size_t i) const noexcept { return data_[i]; }
  /** For loops. */
  constexpr T* begin() const noexcept { return data_; }
  /** For loops. */
  constexpr T* end() const noexcept { return data_ + size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/** Items in a row, as rewards receive them: [size(), dimension()]. */
class batch {
 public:
  /** `size` items of `dimension` numbers at `data`. */
  constexpr batch(const float* data, std::size_t size, std::size_t dimension) noexcept : data_(data), size_(size), dimension_(dimension) {}
  /** The first number of the first item. */
  constexpr const float* data() const noexcept { return data_; }
  /** How many items there are. */
  constexpr std::size_t size() const noexcept { return size_; }
  /** Numbers in each. */
  constexpr std::size_t dimension() const noexcept { return dimension_; }
  /** An item, which must be there. */
  constexpr span<const float> operator[](std::size_t item) const noexcept { return {data_ + item * dimension_, dimension_}; }

 private:
  const float* data_;
  std::size_t size_, dimension_;
};

/** How a call ended. */
class [[nodiscard]] status {
 public:
  /** Success. */
  status() noexcept = default;
  /** Takes an error of mfm.h over; null is success. */
  explicit status(mfm_error* error) noexcept : error_(error) {}
  /** Whether it succeeded. */
  bool ok() const noexcept { return !error_; }
  /** Whether it succeeded. */
  explicit operator bool() const noexcept { return ok(); }
  /** The kind of failure. */
  mfm_code code() const noexcept { return mfm_error_code(error_.get()); }
  /** One sentence; lives as long as the status. */
  const char* message() const noexcept { return mfm_error_message(error_.get()); }
#if MFM_EXCEPTIONS
  /** The same with what a callback threw. */
  status(mfm_error* error, std::exception_ptr exception) noexcept : error_(error), exception_(std::move(exception)) {}
  /** What a callback threw, if that is why the call failed. */
  std::exception_ptr exception() const noexcept { return exception_; }
#endif

 private:
  struct free {
    void operator()(mfm_error* error) const noexcept { mfm_error_free(error); }
  };
  std::unique_ptr<mfm_error, free> error_;
#if MFM_EXCEPTIONS
  std::exception_ptr exception_;
#endif
};

#if MFM_EXCEPTIONS
/** What calls throw. */
class error : public std::runtime_error {
 public:
  /** From a status that is not ok. */
  explicit error(const status& failed) : std::runtime_error(failed.message()), code_(failed.code()) {}
  /** The kind of failure. */
  mfm_code code() const noexcept { return code_; }

 private:
  mfm_code code_;
};
#endif

/** @cond */
namespace detail {

#if MFM_EXCEPTIONS
inline void check(const status& outcome) {
  if (outcome.exception() && (outcome.code() == MFM_CALLBACK_THREW || outcome.code() == MFM_CALLBACK_THREW_OTHER))
    std::rethrow_exception(outcome.exception());
  if (!outcome.ok()) throw error(outcome);
}
#endif

/// Runs the host's code; what it throws is kept, on the host's side of the boundary.
class catcher {
 public:
#if MFM_EXCEPTIONS
  template <class Callback>
  int run(Callback&& callback) noexcept {
    try {
      return callback();
    } catch (const std::exception&) {
      keep();
      return MFM_CALLBACK_THREW;
    } catch (...) {
      keep();
      return MFM_CALLBACK_THREW_OTHER;
    }
  }
  status settle(mfm_error* error) noexcept { return status(error, std::exchange(kept_, nullptr)); }

 private:
  void keep() noexcept {
    if (!kept_) kept_ = std::current_exception();
  }
  std::exception_ptr kept_;
#else
  template <class Callback>
  int run(Callback&& callback) noexcept {
    return callback();
  }
  status settle(mfm_error* error) noexcept { return status(error); }
#endif
};

}  // namespace detail
/** @endcond */

/** A reward r(x) of the host's: samplers aim at p1(x) exp r(x). Anything callable as `f(batch, span<float> values)` serves as well, or as
 * `f(batch, span<float> values, span<float> gradients)`; the latter is called with empty gradients where none are needed. */
class reward {
 public:
  virtual ~reward() = default;
  /** Writes r of each item. */
  virtual void value(batch x, span<float> values) = 0;
  /** Whether value_and_gradient() may be called. */
  virtual bool has_gradient() const noexcept { return false; }
  /** Writes r of each item and its gradient, [x.size(), x.dimension()]. */
  virtual void value_and_gradient(batch x, span<float> values, span<float> gradients) {
    value(x, values);
    (void)gradients;
  }
};

/** @cond */
namespace detail {

template <class R>
struct reward_call {
  R& host;
  catcher& caught;

  static constexpr bool is_reward = std::is_base_of_v<reward, R>;
  static constexpr bool is_value = std::is_invocable_v<R&, batch, span<float>>;
  static constexpr bool is_both = std::is_invocable_v<R&, batch, span<float>, span<float>>;
  static_assert(is_reward || is_value || is_both, "a reward is a mfm::reward, or callable with (batch, span) or (batch, span, span)");

  /// What a callback answers: nothing, whether to go on, or a code.
  template <class Callback>
  static int answer(Callback&& callback) {
    using answered = decltype(callback());
    if constexpr (std::is_void_v<answered>) {
      callback();
      return MFM_OK;
    } else if constexpr (std::is_same_v<answered, bool>) {
      return callback() ? MFM_OK : MFM_CANCELLED;
    } else {
      return static_cast<int>(callback());
    }
  }

  static int value(void* context, const float* x, std::size_t n, std::size_t dimension, float* values) {
    auto& self = *static_cast<reward_call*>(context);
    return self.caught.run([&] {
      const batch items(x, n, dimension);
      const span<float> to(values, n);
      if constexpr (is_reward) {
        self.host.value(items, to);
        return static_cast<int>(MFM_OK);
      } else if constexpr (is_value) {
        return answer([&] { return self.host(items, to); });
      } else {
        return answer([&] { return self.host(items, to, span<float>()); });
      }
    });
  }

  static int value_and_gradient(void* context, const float* x, std::size_t n, std::size_t dimension, float* values, float* gradients) {
    auto& self = *static_cast<reward_call*>(context);
    return self.caught.run([&] {
      const batch items(x, n, dimension);
      const span<float> to(values, n), slopes(gradients, n * dimension);
      if constexpr (is_reward) {
        self.host.value_and_gradient(items, to, slopes);
        return static_cast<int>(MFM_OK);
      } else if constexpr (is_both) {
        return answer([&] { return self.host(items, to, slopes); });
      } else {
        return static_cast<int>(MFM_UNSUPPORTED);
      }
    });
  }

  mfm_reward c() noexcept {
    bool gradient = is_both;
    if constexpr (is_reward) gradient = host.has_gradient();
    return {sizeof(mfm_reward), this, &reward_call::value, gradient ? &reward_call::value_and_gradient : nullptr};
  }
};

template <class C, C (*Default)()>
struct options : C {
  options() noexcept : C(Default()) {}
};

}  // namespace detail
/** @endcond */

/** ::mfm_model_options with its defaults. */
using model_options = detail::options<mfm_model_options, &mfm_model_options_default>;
/** ::mfm_sample_options with its defaults. */
using sample_options = detail::options<mfm_sample_options, &mfm_sample_options_default>;
/** ::mfm_posterior_options with its defaults. */
using posterior_options = detail::options<mfm_posterior_options, &mfm_posterior_options_default>;
/** ::mfm_query with its defaults. */
using query = detail::options<mfm_query, &mfm_query_default>;
/** ::mfm_value_options with its defaults. */
using value_options = detail::options<mfm_value_options, &mfm_value_options_default>;
/** ::mfm_steer_options with its defaults. */
using steer_options = detail::options<mfm_steer_options, &mfm_steer_options_default>;
/** ::mfm_search_options with its defaults. */
using search_options = detail::options<mfm_search_options, &mfm_search_options_default>;
/** ::mfm_training_options with the defaults of training. */
using training_options = detail::options<mfm_training_options, &mfm_training_options_default>;
/** ::mfm_training_options with the defaults of fine-tuning. */
using fine_tuning_options = detail::options<mfm_training_options, &mfm_fine_tuning_options_default>;

/** ::mfm_architecture with its defaults. */
struct architecture : mfm_architecture {
  /** For items of `dimension` numbers. */
  explicit architecture(std::size_t dimension) noexcept : mfm_architecture(mfm_architecture_default(dimension)) {}
};

/** How to open a session. */
struct session_options {
  /** Threads, the caller's among them; results do not depend on it. */
  std::size_t threads = 1;
  /** Must be null: on CUDA all sessions of a model run on one stream of the library's own. */
  void* stream = nullptr;
  /** Called after each step; false stops the call with ::MFM_CANCELLED. */
  std::function<bool(const mfm_progress&)> progress;
  /** Called with a line for the log. What it throws is lost. */
  std::function<void(mfm_log_level, const char*)> log;
};

/** A model. Moves, and is shared between threads freely: it never changes. A default-constructed one is empty. */
class model {
 public:
  /** No model. */
  model() noexcept = default;
  /** Takes a handle over. */
  explicit model(mfm_model* handle) noexcept : handle_(handle) {}

  /** mfm_model_load() */
  static status try_load(std::string_view path, model& loaded, const mfm_model_options& options = model_options()) noexcept {
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
  status try_save(std::string_view path) const noexcept { return status(mfm_model_save(get(), path.data(), path.size())); }
  /** mfm_model_save_memory(): `bytes` is replaced. */
  status try_save_memory(std::vector<unsigned char>& bytes) const noexcept {
    mfm_bytes* saved = nullptr;
    status outcome(mfm_model_save_memory(get(), &saved));
    if (outcome.ok()) {
      const auto* data = static_cast<const unsigned char*>(mfm_bytes_data(saved));
      bytes.assign(data, data + mfm_bytes_size(saved));
      mfm_bytes_free(saved);
    }
    return outcome;
  }
  /** mfm_model_describe(); of an empty model all is zero. */
  mfm_model_info info() const noexcept {
    mfm_model_info told{};
    told.size = sizeof told;
    mfm_error_free(mfm_model_describe(get(), &told));
    return told;
  }

#if MFM_EXCEPTIONS
  /** mfm_model_load() */
  static model load(std::string_view path, const mfm_model_options& options = model_options()) {
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
  void save(std::string_view path) const { detail::check(try_save(path)); }
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
    if (outcome.ok()) handle_.reset(made);
    return outcome;
  }
  friend class session;
  struct free {
    void operator()(mfm_model* handle) const noexcept { mfm_model_free(handle); }
  };
  std::unique_ptr<mfm_model, free> handle_;
};

/** What one thread needs beside a model: one call at a time. Keeps the model alive. A default-constructed one is empty. */
class session {
 public:
  /** No session. */
  session() noexcept = default;

  /** mfm_session_open() */
  static status try_open(const model& of, session& opened, session_options options = {}) noexcept {
    auto host = std::make_unique<callbacks>(callbacks{std::move(options.progress), std::move(options.log), {}});
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
    if (outcome.ok()) trained = model(made);
    return outcome;
  }
  /** mfm_fine_tune() */
  template <class R>
  status try_fine_tune(R&& host, model& tuned, const mfm_training_options& options = fine_tuning_options(),
                       span<const float> data = {}) noexcept {
    mfm_model* made = nullptr;
    status outcome =
        with(host, [&](const mfm_reward* r) { return mfm_fine_tune(get(), r, data.data(), data.size(), &options, &made); });
    if (outcome.ok()) tuned = model(made);
    return outcome;
  }
  /** mfm_sample_dlpack() */
  status try_sample_dlpack(std::size_t count, DLManagedTensorVersioned*& samples, const mfm_sample_options& options = sample_options()) noexcept {
    return settle(mfm_sample_dlpack(get(), &options, count, &samples));
  }
  /** mfm_posterior_dlpack(): `states` is consumed, also on failure. */
  status try_posterior_dlpack(DLManagedTensorVersioned* states, DLManagedTensorVersioned*& draws,
                              const mfm_posterior_options& options = posterior_options()) noexcept {
    return settle(mfm_posterior_dlpack(get(), states, &options, &draws));
  }
  /** mfm_steer_dlpack() */
  template <class R>
  status try_steer_dlpack(R&& host, std::size_t count, DLManagedTensorVersioned*& samples,
                          const mfm_steer_options& options = steer_options()) noexcept {
    return with(host, [&](const mfm_reward* r) { return mfm_steer_dlpack(get(), r, &options, count, &samples); });
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
  /** mfm_fine_tune() */
  template <class R>
  model fine_tune(R&& host, const mfm_training_options& options = fine_tuning_options(), span<const float> data = {}) {
    model tuned;
    detail::check(try_fine_tune(host, tuned, options, data));
    return tuned;
  }
  /** mfm_sample_dlpack() */
  DLManagedTensorVersioned* sample_dlpack(std::size_t count, const mfm_sample_options& options = sample_options()) {
    DLManagedTensorVersioned* samples = nullptr;
    detail::check(try_sample_dlpack(count, samples, options));
    return samples;
  }
  /** mfm_posterior_dlpack() */
  DLManagedTensorVersioned* posterior_dlpack(DLManagedTensorVersioned* states, const mfm_posterior_options& options = posterior_options()) {
    DLManagedTensorVersioned* draws = nullptr;
    detail::check(try_posterior_dlpack(states, draws, options));
    return draws;
  }
  /** mfm_steer_dlpack() */
  template <class R>
  DLManagedTensorVersioned* steer_dlpack(R&& host, std::size_t count, const mfm_steer_options& options = steer_options()) {
    DLManagedTensorVersioned* samples = nullptr;
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
    std::function<bool(const mfm_progress&)> progress;
    std::function<void(mfm_log_level, const char*)> log;
    detail::catcher caught;

    static int tell(void* context, const mfm_progress* told) {
      auto& self = *static_cast<callbacks*>(context);
      return self.caught.run([&] { return static_cast<int>(self.progress(*told) ? MFM_OK : MFM_CANCELLED); });
    }
    static void say(void* context, mfm_log_level level, const char* message) {
      detail::catcher lost;
      lost.run([&] {
        static_cast<callbacks*>(context)->log(level, message);
        return 0;
      });
    }
  };

  status settle(mfm_error* error) noexcept { return host_ ? host_->caught.settle(error) : status(error); }

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

}  // namespace v1
}  // namespace mfm

#endif  // MFM_MFM_HPP
