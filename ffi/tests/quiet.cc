// The library reads no environment variable, writes nothing, and leaves signals alone.
#include "check.hpp"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

extern char** environ;

static int reads = 0;

// In place of the C library's, for everybody in this process.
extern "C" char* getenv(const char* name) noexcept {
  ++reads;
  const std::size_t length = std::strlen(name);
  for (char** entry = environ; entry && *entry; ++entry)
    if (std::strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') return *entry + length + 1;
  return nullptr;
}

int main() {
  struct sigaction before[32], after[32];
  for (int number = 1; number < 32; ++number) sigaction(number, nullptr, &before[number]);
  int out = dup(1), error = dup(2), pipes[2];
  CHECK(pipe(pipes) == 0);
  fcntl(pipes[0], F_SETFL, O_NONBLOCK);
  dup2(pipes[1], 1);
  dup2(pipes[1], 2);
  reads = 0;
  mfm_code code = MFM_OK;
  {
    const mfm::model model = the_model();
    mfm::session session = a_session(model, {3, nullptr, {}, {}});
    std::vector<float> samples(600 * 64);
    code = session.try_steer(target(), samples).code();
    (void)session.try_sample({samples.data(), 63});
    mfm::model trained;
    mfm::training_options options;
    options.steps = 2;
    (void)session.try_train(samples, trained, options);
  }
  const int counted = reads;
  dup2(out, 1);
  dup2(error, 2);
  char written[100];
  CHECK(read(pipes[0], written, sizeof written) <= 0);
  CHECK(code == MFM_OK);
  std::printf("%d reads of the environment\n", counted);
  CHECK(counted == 0);
  CHECK(getenv("PATH") && reads > 0);  // The counter counts.
  for (int number = 1; number < 32; ++number) {
    sigaction(number, nullptr, &after[number]);
    CHECK(before[number].sa_handler == after[number].sa_handler);
  }
  return finish();
}
