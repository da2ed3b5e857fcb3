/**
 * @file reward.hpp
 * @brief Rewards of the host's: an interface, and whatever is callable like it.
 */
#ifndef MFM_REWARD_HPP
#define MFM_REWARD_HPP

#include <cstddef>
#include <type_traits>
#include <vector>

#include "answer.hpp"
#include "mfm.h"
#include "span.hpp"
#include "status.hpp"

namespace mfm {
inline namespace v1 {

/** A reward r(x) of the host's: samplers aim at p1(x) exp r(x). Anything callable as `f(batch, span<float> values)` serves as well, or as
 * `f(batch, span<float> values, span<float> gradients)`; where only values are needed, what the latter writes into `gradients` is not read. Such a function returns nothing,
 * to go on; a bool, `true` to go on and `false` to cancel the call; or an int or ::mfm_code, ::MFM_OK to go on, ::MFM_CANCELLED to cancel, anything else for
 * failure. Rewards go into `values`: one that returns a number does not compile. */
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

}  // namespace v1
inline namespace MFM_NAMESPACE {

/** @cond */
namespace detail {

template <class R>
struct reward_call {
  R& host;
  catcher& caught;
  // Room for gradients that nobody asked for, so that whoever writes them always may. Kept for the whole call.
  std::vector<float> unread = {};

  static constexpr bool is_reward = std::is_base_of_v<reward, R>;
  static constexpr bool is_value = std::is_invocable_v<R&, batch, span<float>>;
  static constexpr bool is_both = std::is_invocable_v<R&, batch, span<float>, span<float>>;
  static_assert(is_reward || is_value || is_both, "a reward is a mfm::reward, or callable with (batch, span) or (batch, span, span)");
  static_assert(!is_reward || !std::is_const_v<R>, "a mfm::reward may change as it is called, so it cannot be const; a lambda can");

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
        if (self.unread.size() < n * dimension) self.unread.resize(n * dimension);
        return answer([&] { return self.host(items, to, span<float>(self.unread.data(), n * dimension)); });
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

}  // namespace detail
/** @endcond */

}  // namespace MFM_NAMESPACE
}  // namespace mfm

#endif  // MFM_REWARD_HPP
