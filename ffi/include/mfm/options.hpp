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

/** @cond */
namespace detail {

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

}  // namespace v1
}  // namespace mfm

#endif  // MFM_OPTIONS_HPP
