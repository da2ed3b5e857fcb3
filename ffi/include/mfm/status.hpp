/**
 * @file status.hpp
 * @brief How calls end: statuses, and the exceptions that are made of them.
 */
#ifndef MFM_STATUS_HPP
#define MFM_STATUS_HPP

#include <memory>
#include <utility>

#include "mfm.h"

#if defined(__cpp_exceptions)
/** 1 where calls that throw are offered. */
#define MFM_EXCEPTIONS 1
/** The inline namespace of what is laid out by whether there are exceptions, so that a program may have parts of both kinds. */
#define MFM_NAMESPACE v1
#include <exception>
#include <stdexcept>
#include <string>
#else
#define MFM_EXCEPTIONS 0
#define MFM_NAMESPACE v1_without_exceptions
#endif

namespace mfm {
inline namespace MFM_NAMESPACE {

/** How a call ended. One that was moved from says that all went well: ask where it went. */
class [[nodiscard]] status {
 public:
  /** Success. */
  status() noexcept = default;
  /** Takes an error of mfm.h over; null is success. */
  explicit status(mfm_error* failure) noexcept : error_(failure) {}
  /** That there is no memory left on the host's side. */
  static status out_of_memory() noexcept {
    status failed;
    failed.memory_ = false;
    return failed;
  }
  /** Whether it succeeded. */
  bool ok() const noexcept { return memory_ && !error_; }
  /** Whether it succeeded. */
  explicit operator bool() const noexcept { return ok(); }
  /** The kind of failure. */
  mfm_code code() const noexcept { return memory_ ? mfm_error_code(error_.get()) : MFM_OUT_OF_MEMORY; }
  /** One sentence; lives as long as the status. */
  const char* message() const noexcept {
    if (!memory_) return "there is no memory left";
#if MFM_EXCEPTIONS
    if (!words_.empty()) return words_.c_str();
#endif
    return mfm_error_message(error_.get());
  }
#if MFM_EXCEPTIONS
  /** The same with what a callback threw, whose words are part of the message. */
  status(mfm_error* failure, std::exception_ptr thrown) noexcept : error_(failure), exception_(std::move(thrown)) {
    if (!exception_) return;
    try {
      std::rethrow_exception(exception_);
    } catch (const std::exception& exception) {
      try {
        words_ = std::string(mfm_error_message(error_.get())) + ": " + exception.what();
      } catch (const std::exception&) {  // The library's own sentence must do.
      }
    } catch (...) {
    }
  }
  /** What a callback threw, if that is why the call failed. */
  std::exception_ptr exception() const noexcept { return exception_; }
#endif

 private:
  struct free {
    void operator()(mfm_error* done) const noexcept { mfm_error_free(done); }
  };
  std::unique_ptr<mfm_error, free> error_;
  bool memory_ = true;
#if MFM_EXCEPTIONS
  std::exception_ptr exception_;
  std::string words_;
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
  /// Looks for what was thrown only if something was: a call on another thread may be under way, and ours was refused.
  status settle(mfm_error* failure) noexcept {
    const mfm_code code = mfm_error_code(failure);
    if (code != MFM_CALLBACK_THREW && code != MFM_CALLBACK_THREW_OTHER) return status(failure);
    return status(failure, std::exchange(kept_, nullptr));
  }

 private:
  void keep() noexcept { kept_ = std::current_exception(); }
  std::exception_ptr kept_;
#else
  template <class Callback>
  int run(Callback&& callback) noexcept {
    return callback();
  }
  status settle(mfm_error* failure) noexcept { return status(failure); }
#endif
};

}  // namespace detail
/** @endcond */

}  // namespace MFM_NAMESPACE
}  // namespace mfm

#endif  // MFM_STATUS_HPP
