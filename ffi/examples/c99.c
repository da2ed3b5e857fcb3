/* The value of a reward at noisy states, and draws steered by it, in C99.
 *
 *   c99 MODEL
 */
#include <mfm/mfm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How dark the picture is, by a factor. */
static int darkness(void* context, const float* x, size_t n, size_t dimension, float* values) {
  const float factor = *(const float*)context;
  for (size_t i = 0; i < n; ++i) {
    values[i] = 0;
    for (size_t k = 0; k < dimension; ++k) values[i] += factor * x[i * dimension + k];
  }
  return MFM_OK;
}

static int failed(mfm_error* error) {
  if (!error) return 0;
  fprintf(stderr, "mfm (%d): %s\n", (int)mfm_error_code(error), mfm_error_message(error));
  mfm_error_free(error);
  return 1;
}

int main(int count, char** arguments) {
  mfm_model* model = NULL;
  mfm_session* session = NULL;
  float *samples = NULL, *states = NULL, values[4];
  float factor = 0.02f;
  int status = 1;
  if (count != 2) {
    fputs("usage: c99 MODEL\n", stderr);
    return 2;
  }
  if (failed(mfm_model_load(arguments[1], strlen(arguments[1]), NULL, &model))) goto end;
  if (failed(mfm_session_open(model, NULL, &session))) goto end;

  mfm_model_info info;
  info.size = sizeof info;
  if (failed(mfm_model_describe(model, &info))) goto end;
  printf("%zu numbers a sample, %zu parameters, path %s\n", info.dimension, info.parameters, info.path);
  samples = calloc(4 * info.dimension, sizeof *samples);
  states = calloc(4 * info.dimension, sizeof *states);
  if (!samples || !states) goto end;

  mfm_reward reward = mfm_reward_default();
  reward.context = &factor;
  reward.value = darkness;

  mfm_value_options value = mfm_value_options_default();
  value.time = 0.1;
  if (failed(mfm_value(session, &reward, states, 4 * info.dimension, &value, values, 4))) goto end;
  printf("value at t = 0.1: %.3f\n", (double)values[0]);

  mfm_steer_options steer = mfm_steer_options_default();
  steer.estimator = MFM_GRADIENT_FREE;
  steer.steps = 10;
  if (failed(mfm_steer(session, &reward, &steer, samples, 4 * info.dimension))) goto end;
  darkness(&factor, samples, 4, info.dimension, values);
  printf("darkness of four steered samples: %.2f %.2f %.2f %.2f\n", (double)values[0], (double)values[1], (double)values[2], (double)values[3]);
  status = 0;
end:
  free(samples);
  free(states);
  mfm_session_close(session);
  mfm_model_free(model);
  return status;
}
