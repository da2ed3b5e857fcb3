/**
 * @file answer.hpp
 * @brief What callbacks of the host's may answer.
 */
#ifndef MFM_ANSWER_HPP
#define MFM_ANSWER_HPP

#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>

#include "mfm.h"
#include "status.hpp"

namespace mfm {
inline namespace MFM_NAMESPACE {

/** @cond */
namespace detail {

template <class Answer>
constexpr bool is_answer =
    std::is_void_v<Answer> || std::is_same_v<Answer, bool> || std::is_same_v<Answer, int> || std::is_same_v<Answer, mfm_code>;

/// The code of what a callback answers.
template <class Callback>
int answer(Callback&& callback) {
  using answered = std::decay_t<decltype(callback())>;
  static_assert(is_answer<answered>, "a callback answers nothing, a bool (true to go on, false to cancel), an int or an mfm_code (MFM_OK to go on)");
  if constexpr (std::is_void_v<answered>) {
    callback();
    return MFM_OK;
  } else if constexpr (std::is_same_v<answered, bool>) {
    return callback() ? MFM_OK : MFM_CANCELLED;
  } else {
    return static_cast<int>(callback());
  }
}

}  // namespace detail
/** @endcond */

/** A callback that is told of each step: anything callable with `const mfm_progress&`. It answers nothing, to go on; a bool, `true` to go on and `false` to
 * cancel the call; or an ::mfm_code, ::MFM_OK to go on, ::MFM_CANCELLED to cancel, ::MFM_STOP to end training early and keep the model so far. */
class progress_callback {
 public:
  /** None. */
  progress_callback() noexcept = default;
  /** None. */
  progress_callback(std::nullptr_t) noexcept {}
  /** A function, lambda or object. */
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, progress_callback> &&
                                              std::is_invocable_v<std::decay_t<F>&, const mfm_progress&>>>
  progress_callback(F&& callback) {
    using answered = std::invoke_result_t<std::decay_t<F>&, const mfm_progress&>;
    // Which knows an empty function or a null pointer for none.
    std::function<answered(const mfm_progress&)> own(std::forward<F>(callback));
    if (own)
      call_ = [inner = std::move(own)](const mfm_progress& told) { return detail::answer([&] { return inner(told); }); };
  }
  /** Whether there is one. */
  explicit operator bool() const noexcept { return static_cast<bool>(call_); }
  /** Calls it, which must be there; its answer as a code. */
  int operator()(const mfm_progress& told) const { return call_(told); }

 private:
  std::function<int(const mfm_progress&)> call_;
};

}  // namespace MFM_NAMESPACE
}  // namespace mfm

#endif  // MFM_ANSWER_HPP
