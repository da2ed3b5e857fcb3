/**
 * @file options.hpp
 * @brief The options of mfm.h, which begin with their defaults.
 */
#ifndef MFM_OPTIONS_HPP
#define MFM_OPTIONS_HPP

#include <cstddef>
#include <type_traits>

#include "mfm.h"
#include "span.hpp"

namespace mfm {
inline namespace v1 {

/** ::mfm_model_options with its defaults. */
struct model_options : mfm_model_options {
  /** All of them. */
  model_options() noexcept : mfm_model_options(mfm_model_options_default()) {}
};

/**
 * @brief Options of mfm.h with a condition: one for all states, which is kept here, or one for each, which is a view of what stays the host's and must last as long
 * as calls with these options.
 */
template <class Options>
struct conditioned : Options {
  /** With these defaults. */
  explicit conditioned(const Options& defaults) noexcept : Options(defaults) {}
  /** With a condition of its own, where that of the other is. */
  conditioned(const conditioned& other) noexcept : Options(other), label_(other.label_), scale_(other.scale_) { keep(other); }
  /** With a condition of its own, where that of the other is. */
  conditioned& operator=(const conditioned& other) noexcept {
    Options::operator=(other);
    label_ = other.label_;
    scale_ = other.scale_;
    keep(other);
    return *this;
  }
  ~conditioned() = default;
  /** One label for all states. */
  void set_label(std::size_t label) noexcept {
    label_ = label;
    set_labels({&label_, 1});
  }
  /** One label for each state, or one for all; empty for none. */
  void set_labels(span<const std::size_t> given) noexcept {
    condition().labels = given.data();
    condition().label_count = given.size();
  }
  /** A temporary container would be gone before the call. */
  template <class Labels, class = std::enable_if_t<is_lost<Labels>>>
  void set_labels(Labels&& given) = delete;
  /** One scale of guidance for all states. */
  void set_guidance_scale(double scale) noexcept {
    scale_ = scale;
    set_guidance({&scale_, 1});
  }
  /** One scale of guidance for each state, or one for all; empty for none. */
  void set_guidance(span<const double> given) noexcept {
    condition().guidance = given.data();
    condition().guidance_count = given.size();
  }
  /** A temporary container would be gone before the call. */
  template <class Scales, class = std::enable_if_t<is_lost<Scales>>>
  void set_guidance(Scales&& given) = delete;

 private:
  auto& condition() noexcept {
    if constexpr (std::is_same_v<Options, mfm_query>) {
      return static_cast<mfm_query&>(*this);
    } else {
      return this->draw;
    }
  }
  /** A copy looks at its own, never at the other's. */
  void keep(const conditioned& other) noexcept {
    if (condition().labels == &other.label_) condition().labels = &label_;
    if (condition().guidance == &other.scale_) condition().guidance = &scale_;
  }

  std::size_t label_ = 0;
  double scale_ = 1;
};

/** ::mfm_sample_options with its defaults. */
struct sample_options : conditioned<mfm_sample_options> {
  /** All of them. */
  sample_options() noexcept : conditioned(mfm_sample_options_default()) {}
};

/** ::mfm_posterior_options with its defaults. */
struct posterior_options : conditioned<mfm_posterior_options> {
  /** All of them. */
  posterior_options() noexcept : conditioned(mfm_posterior_options_default()) {}
};

/** ::mfm_query with its defaults. */
struct query : conditioned<mfm_query> {
  /** All of them. */
  query() noexcept : conditioned(mfm_query_default()) {}
};

/** ::mfm_value_options with its defaults. */
struct value_options : conditioned<mfm_value_options> {
  /** All of them. */
  value_options() noexcept : conditioned(mfm_value_options_default()) {}
};

/** ::mfm_steer_options with its defaults. */
struct steer_options : conditioned<mfm_steer_options> {
  /** All of them. */
  steer_options() noexcept : conditioned(mfm_steer_options_default()) {}
};

/** ::mfm_search_options with its defaults. */
struct search_options : conditioned<mfm_search_options> {
  /** All of them. */
  search_options() noexcept : conditioned(mfm_search_options_default()) {}
};

/** ::mfm_training_options with the defaults of training. */
struct training_options : mfm_training_options {
  /** All of them. */
  training_options() noexcept : mfm_training_options(mfm_training_options_default()) {}
};

/** ::mfm_training_options with the defaults of fine-tuning. */
struct fine_tuning_options : mfm_training_options {
  /** All of them. */
  fine_tuning_options() noexcept : mfm_training_options(mfm_fine_tuning_options_default()) {}
};

/** ::mfm_architecture with its defaults. */
struct architecture : mfm_architecture {
  /** For items of so many numbers. */
  explicit architecture(std::size_t numbers) noexcept : mfm_architecture(mfm_architecture_default(numbers)) {}
};

}  // namespace v1
}  // namespace mfm

#endif  // MFM_OPTIONS_HPP
