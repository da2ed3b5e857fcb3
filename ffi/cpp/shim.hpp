// What the bridge needs of C++: the callbacks of one call.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

#include "mfm/mfm.h"
#include "rust/cxx.h"

namespace mfm::detail {

struct Progress;

/// The host's callbacks. Whatever they throw becomes a code here: nothing passes through Rust.
class Host {
 public:
  Host(const mfm_session_options& session, const mfm_reward* reward) noexcept : session_(session), reward_(reward) {}

  bool has_gradient() const noexcept { return reward_ && reward_->value_and_gradient; }
  std::int32_t value(rust::Slice<const float> x, std::size_t dimension, rust::Slice<float> values) const noexcept;
  std::int32_t value_and_gradient(rust::Slice<const float> x, std::size_t dimension, rust::Slice<float> values,
                                  rust::Slice<float> gradients) const noexcept;
  std::int32_t progress(const Progress& progress) const noexcept;
  bool logs() const noexcept { return session_.log; }
  void log(std::uint32_t level, rust::Str message) const noexcept;
  rust::String message() const noexcept { return rust::String::lossy(message_); }

 private:
  template <class Callback>
  std::int32_t caught(Callback&& callback) const noexcept;

  const mfm_session_options& session_;
  const mfm_reward* reward_;
  mutable std::string message_;
};

}  // namespace mfm::detail
