/**
 * @file options.hpp
 * @brief The options of mfm.h, which begin with their defaults.
 */
#ifndef MFM_OPTIONS_HPP
#define MFM_OPTIONS_HPP

#include <cstddef>

#include "mfm.h"

namespace mfm {
inline namespace v1 {

/** ::mfm_model_options with its defaults. */
struct model_options : mfm_model_options {
  /** All of them. */
  model_options() noexcept : mfm_model_options(mfm_model_options_default()) {}
};

/** ::mfm_sample_options with its defaults. */
struct sample_options : mfm_sample_options {
  /** All of them. */
  sample_options() noexcept : mfm_sample_options(mfm_sample_options_default()) {}
};

/** ::mfm_posterior_options with its defaults. */
struct posterior_options : mfm_posterior_options {
  /** All of them. */
  posterior_options() noexcept : mfm_posterior_options(mfm_posterior_options_default()) {}
};

/** ::mfm_query with its defaults. */
struct query : mfm_query {
  /** All of them. */
  query() noexcept : mfm_query(mfm_query_default()) {}
};

/** ::mfm_value_options with its defaults. */
struct value_options : mfm_value_options {
  /** All of them. */
  value_options() noexcept : mfm_value_options(mfm_value_options_default()) {}
};

/** ::mfm_steer_options with its defaults. */
struct steer_options : mfm_steer_options {
  /** All of them. */
  steer_options() noexcept : mfm_steer_options(mfm_steer_options_default()) {}
};

/** ::mfm_search_options with its defaults. */
struct search_options : mfm_search_options {
  /** All of them. */
  search_options() noexcept : mfm_search_options(mfm_search_options_default()) {}
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
