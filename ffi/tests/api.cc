// What the headers take and give beside the calls themselves: paths, views, copies, tensors, answers of callbacks. Compiled with every warning that a host
// may have on, and with exceptions and without.
#include "check.hpp"

#include <array>
#include <filesystem>
#if defined(__cpp_lib_span) && defined(__cpp_lib_ranges)
#include <span>
#endif

namespace {

constexpr std::size_t dimension = 64;

void names() {
  CHECK(std::strcmp(mfm_code_name(MFM_OK), "MFM_OK") == 0 && std::strcmp(mfm::name(MFM_STOP), "MFM_STOP") == 0);
  CHECK(std::strcmp(mfm_code_name(-1), "unknown") == 0 && std::strcmp(mfm_code_name(MFM_STOP + 1), "unknown") == 0);
  const std::string numbers =
      std::to_string(MFM_VERSION_MAJOR) + "." + std::to_string(MFM_VERSION_MINOR) + "." + std::to_string(MFM_VERSION_PATCH);
  CHECK(numbers == MFM_VERSION && numbers == mfm::version());
}

/// Whether a model, by its kind of expression, tells what is known of it.
template <class Model, class = void>
constexpr bool tells = false;
template <class Model>
constexpr bool tells<Model, std::void_t<decltype(std::declval<Model>().info())>> = true;
static_assert(tells<mfm::model&> && tells<const mfm::model&> && !tells<mfm::model> && !tells<const mfm::model>);

/// What is told of a model stays while a session keeps it.
void told() {
  mfm::model model = the_model();
  const mfm_model_info info = model.info();
  const std::string objective = info.objective;
  const mfm::session session = a_session(model);
  model = mfm::model();
  CHECK(session && objective == info.objective && std::strcmp(info.path, "linear") == 0 && std::strcmp(info.device, "cpu") == 0);
}

void views() {
  const std::filesystem::path path(MODEL);
  const std::string text(MODEL);
  const std::string_view view(text);
  mfm::model model;
  CHECK(mfm::model::try_load(path, model).ok() && mfm::model::try_load(text, model).ok() && mfm::model::try_load(view, model).ok());

  const mfm::model copy = model;
  model = mfm::model();
  CHECK(!model && copy && copy.dimension() == dimension);
  mfm::session session = a_session(copy, {2});  // Without a warning of what is left out.
  float plain[dimension];
  std::array<float, dimension> array{};
  CHECK(session.try_sample(plain).ok() && session.try_sample(array).ok() && std::equal(array.begin(), array.end(), plain));
  CHECK(mfm::span<float>().empty() && !mfm::span<const float>(plain).empty());
  std::size_t items = 0;
  for (const mfm::span<const float> item : mfm::batch(plain, 4, 16)) CHECK(item.data() == plain + 16 * items++ && item.size() == 16);
  CHECK(items == 4);

  // Results that would be lost with a temporary are no results; a temporary view, or what is only read, is as good as any.
  using numbers = std::vector<float>;
  using floats = mfm::span<float>;
  static_assert(!std::is_constructible_v<floats, numbers> && !std::is_constructible_v<floats, std::array<float, dimension>>);
  static_assert(std::is_constructible_v<floats, numbers&> && std::is_constructible_v<floats, floats>);
  static_assert(std::is_constructible_v<mfm::span<const float>, numbers> && std::is_constructible_v<mfm::span<const float>, floats>);
}

/// Whether a container of labels, or of scales, may be given to options.
template <class Options, class Labels, class = void>
constexpr bool takes_labels = false;
template <class Options, class Labels>
constexpr bool takes_labels<Options, Labels, std::void_t<decltype(std::declval<Options&>().set_labels(std::declval<Labels>()))>> = true;
template <class Options, class Scales, class = void>
constexpr bool takes_guidance = false;
template <class Options, class Scales>
constexpr bool takes_guidance<Options, Scales, std::void_t<decltype(std::declval<Options&>().set_guidance(std::declval<Scales>()))>> = true;

/// Conditions are views of what lasts.
template <class Options>
void conditions() {
  using labels = std::vector<std::size_t>;
  using scales = std::array<double, 1>;
  static_assert(takes_labels<Options, labels&> && takes_labels<Options, const labels&> && takes_labels<Options, mfm::span<const std::size_t>>);
  static_assert(!takes_labels<Options, labels> && !takes_guidance<Options, scales> && takes_guidance<Options, scales&>);
  static_assert(!takes_labels<Options, std::vector<float>&>);
  const labels three = {1, 2, 3};
  const double scale = 2;
  Options options;
  options.set_labels(three);
  options.set_guidance({&scale, 1});
  const auto condition = [](const Options& given) -> const auto& {
    if constexpr (std::is_same_v<Options, mfm::query>) {
      return given;
    } else {
      return given.draw;
    }
  };
  const Options viewed = options;
  CHECK(condition(viewed).labels == three.data() && condition(viewed).label_count == 3);
  CHECK(condition(viewed).guidance == &scale && condition(viewed).guidance_count == 1);
  options.set_labels({});
  options.set_guidance({});
  CHECK(condition(options).label_count == 0 && condition(options).guidance_count == 0);

  // One for all is kept by the options, by each copy for itself.
  Options copy, moved;
  {
    Options first;
    first.set_label(7);
    first.set_guidance_scale(3);
    copy = first;
    moved = Options(first);
    CHECK(condition(copy).labels != condition(first).labels && condition(moved).guidance != condition(first).guidance);
    first.set_label(8);
  }
  for (const Options* kept : {&copy, &moved}) {
    CHECK(condition(*kept).label_count == 1 && *condition(*kept).labels == 7);
    CHECK(condition(*kept).guidance_count == 1 && *condition(*kept).guidance == 3);
  }
}

/// Whether a run may be given such options.
template <class Options, class = void>
constexpr bool trains = false;
template <class Options>
constexpr bool trains<Options, std::void_t<decltype(std::declval<mfm::session&>().try_train({}, std::declval<mfm::model&>(),
                                                                                         std::declval<Options>()))>> = true;
template <class Options, class = void>
constexpr bool tunes = false;
template <class Options>
constexpr bool tunes<Options, std::void_t<decltype(std::declval<mfm::session&>().try_fine_tune(target(), std::declval<mfm::model&>(),
                                                                                              std::declval<Options>()))>> = true;
static_assert(trains<mfm::training_options> && trains<mfm_training_options&> && !trains<mfm::fine_tuning_options&>);
static_assert(tunes<mfm::fine_tuning_options> && tunes<mfm_training_options&> && !tunes<mfm::training_options&>);
#if MFM_EXCEPTIONS
template <class Options, class = void>
constexpr bool trains_or_throws = false;
template <class Options>
constexpr bool trains_or_throws<Options, std::void_t<decltype(std::declval<mfm::session&>().train({}, std::declval<Options>()))>> = true;
template <class Options, class = void>
constexpr bool tunes_or_throws = false;
template <class Options>
constexpr bool tunes_or_throws<Options, std::void_t<decltype(std::declval<mfm::session&>().fine_tune(target(), std::declval<Options>()))>> = true;
static_assert(trains_or_throws<mfm::training_options> && !trains_or_throws<mfm::fine_tuning_options>);
static_assert(tunes_or_throws<mfm::fine_tuning_options> && !tunes_or_throws<mfm::training_options>);
#endif

void tensors() {
  mfm::session session = a_session(the_model());
  mfm::tensor samples, draws, steered;
  CHECK(session.try_sample_dlpack(2, samples).ok() && samples);
  CHECK(session.try_posterior_dlpack(std::move(samples), draws).ok() && draws);
  CHECK(session.try_steer_dlpack(target(), 2, steered).ok() && steered);
#if MFM_EXCEPTIONS
  const mfm::tensor again = session.posterior_dlpack(session.sample_dlpack(2));
  CHECK(again != nullptr);
#endif
}

/// How sampling ends with a progress callback.
template <class F>
mfm_code ends_with(F&& progress) {
  mfm::session_options how;
  how.progress = std::forward<F>(progress);
  std::vector<float> samples(dimension);
  return a_session(the_model(), std::move(how)).try_sample(samples).code();
}

void answers() {
  int told = 0;
  CHECK(ends_with([&](const mfm_progress&) { ++told; }) == MFM_OK && told == 1);
  CHECK(ends_with([](const mfm_progress&) { return true; }) == MFM_OK);
  CHECK(ends_with([](const mfm_progress&) { return false; }) == MFM_CANCELLED);
  CHECK(ends_with([](const mfm_progress&) { return MFM_OK; }) == MFM_OK);
  CHECK(ends_with([](const mfm_progress&) { return MFM_CANCELLED; }) == MFM_CANCELLED);
  CHECK(ends_with([](const mfm_progress&) { return MFM_STOP; }) == MFM_CANCELLED);
  CHECK(ends_with([](const mfm_progress&) { return 5; }) == MFM_CALLBACK_FAILED);
  CHECK(ends_with(std::function<bool(const mfm_progress&)>()) == MFM_OK && ends_with(nullptr) == MFM_OK);

  mfm::session session = a_session(the_model());
  std::vector<float> samples(dimension);
  const auto zero = [](mfm::batch, mfm::span<float> values) {
    for (float& value : values) value = 0;
    return MFM_OK;
  };
  CHECK(session.try_steer(zero, samples).ok());
  CHECK(session.try_steer([](mfm::batch, mfm::span<float>) { return MFM_CANCELLED; }, samples).code() == MFM_CANCELLED);
  static_assert(mfm::detail::is_answer<void> && mfm::detail::is_answer<bool> && mfm::detail::is_answer<int> && mfm::detail::is_answer<mfm_code>);
  static_assert(!mfm::detail::is_answer<float> && !mfm::detail::is_answer<mfm::status> && !mfm::detail::is_answer<char>);
}

/// A reward of three arguments may write its gradients whenever it is called, also where values alone are needed.
void gradients() {
  mfm::session session = a_session(the_model());
  std::size_t calls = 0, missing = 0;
  const auto writes = [&](mfm::batch x, mfm::span<float> values, mfm::span<float> slopes) {
    ++calls;
    missing += slopes.size() != x.numbers().size();
    for (float& slope : slopes) slope = 7;  // Which nothing may come of where it is not asked for.
    target()(x, values, slopes);
  };
  const auto target_value = [](mfm::batch x, mfm::span<float> values) { target()(x, values, {}); };
  std::vector<float> samples(2 * dimension), others(samples.size());
  for (const mfm_estimator estimator : {MFM_MCMC, MFM_RESAMPLED, MFM_GRADIENT_FREE}) {
    mfm::steer_options options;
    options.estimator = estimator;
    options.steps = 2;
    CHECK(session.try_steer(writes, samples, options).ok() && calls > 0 && missing == 0);
    if (estimator != MFM_MCMC) CHECK(session.try_steer(target_value, others, options).ok() && samples == others);
  }
}

#if defined(__cpp_lib_span) && defined(__cpp_lib_ranges)
/// Rewards may take what they are given as the spans of C++20.
void standard_spans() {
  static_assert(std::ranges::view<mfm::span<float>> && std::ranges::borrowed_range<mfm::span<const float>>);
  static_assert(std::is_convertible_v<mfm::span<float>, std::span<float>> && !std::is_convertible_v<mfm::span<const float>, std::span<float>>);
  mfm::session session = a_session(the_model());
  const auto dark = [](mfm::batch x, std::span<float> values) {
    for (std::size_t i = 0; i < x.size(); ++i) values[i] = std::span<const float>(x[i]).front();
  };
  const auto slope = [&](mfm::batch x, std::span<float> values, std::span<float> gradients) { target()(x, values, gradients); };
  std::vector<float> samples(2 * dimension);
  mfm::steer_options options;
  options.steps = 2;
  CHECK(session.try_steer(dark, samples, options).ok());
  options.estimator = MFM_MCMC;
  CHECK(session.try_steer(slope, std::span<float>(samples), options).ok());
}
#endif

}  // namespace

int main() {
  names();
  told();
  views();
  conditions<mfm::sample_options>();
  conditions<mfm::posterior_options>();
  conditions<mfm::query>();
  conditions<mfm::value_options>();
  conditions<mfm::steer_options>();
  conditions<mfm::search_options>();
  tensors();
  answers();
  gradients();
#if defined(__cpp_lib_span) && defined(__cpp_lib_ranges)
  standard_spans();
#endif
  return finish();
}
