// What the tests share: a check that counts, a reward whose gradient is known, and the model of the examples.
#pragma once

#include <mfm/mfm.hpp>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

inline int failures = 0;

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      std::printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);     \
      ++failures;                                                             \
    }                                                                         \
  } while (false)

/// That a call fails with a code, and says something.
inline void expect(const mfm::status& outcome, mfm_code code, const char* what) {
  std::printf("%2d  %-44s %s\n", outcome.code(), what, outcome.message());
  if (outcome.code() != code || (code != MFM_OK && std::strlen(outcome.message()) == 0)) {
    std::printf("    failed: code %d was expected\n", code);
    ++failures;
  }
}

/// r(x) = -|x - 4|^2 / (2 * 16^2).
struct target {
  void operator()(mfm::batch x, mfm::span<float> values, mfm::span<float> gradients) const {
    for (std::size_t i = 0; i < x.size(); ++i) {
      float sum = 0;
      for (std::size_t k = 0; k < x.dimension(); ++k) {
        const float miss = x[i][k] - 4;
        sum += miss * miss;
        if (gradients.size() > 0) gradients[i * x.dimension() + k] = -miss / 256;
      }
      values[i] = -sum / 512;
    }
  }
};

/// The model of the examples, of 64 numbers a sample.
inline mfm::model the_model() {
  mfm::model model;
  CHECK(mfm::model::try_load(MODEL, model).ok());
  return model;
}

/// Where a model is to live, and how its numbers are kept.
inline mfm::model_options kept(std::uint32_t precision, std::uint32_t graphs, const char* device = "cpu") {
  mfm::model_options where;
  where.device = device;
  where.precision = precision;
  where.graphs = graphs;
  return where;
}

inline mfm::session a_session(const mfm::model& model, mfm::session_options options = {}) {
  mfm::session session;
  CHECK(mfm::session::try_open(model, session, std::move(options)).ok());
  return session;
}

/// Whether an estimator makes draws, so that their number may be given.
inline bool makes_draws(std::uint32_t estimator) {
  return estimator != MFM_UNSTEERED && estimator != MFM_DPS && estimator != MFM_SEQUENTIAL_MONTE_CARLO;
}

inline int finish() {
  std::printf(failures == 0 ? "all checks passed\n" : "%d checks FAILED\n", failures);
  return failures == 0 ? 0 : 1;
}
