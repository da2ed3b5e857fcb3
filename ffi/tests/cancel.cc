// A thread that is cancelled during a call ends after it, and the library goes on. Skipped under sanitizers, which do not know that a cancelled thread leaves its frames, and
// take what is put there next for an overflow.
#include "check.hpp"

#include <pthread.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

namespace {

/// A call, and whether it came to its end, and its thread to the point after that.
struct job {
  mfm::status (*call)(const mfm::model&, mfm::session&);
  const mfm::model& model;
  mfm::session& session;
  bool succeeded, went_on;
};

void* cancelled(void* given) {
  job& here = *static_cast<job*>(given);
  pthread_cancel(pthread_self());
  here.succeeded = here.call(here.model, here.session).ok();
  pthread_testcancel();
  here.went_on = true;
  return nullptr;
}

/// Checks that the thread of a call ends after it by being cancelled.
void ends_after(job here, const char* what) {
  std::printf("%s\n", what);
  pthread_t thread;
  void* result = nullptr;
  CHECK(pthread_create(&thread, nullptr, cancelled, &here) == 0 && pthread_join(thread, &result) == 0);
  CHECK(here.succeeded && !here.went_on && result == PTHREAD_CANCELED);
}

mfm::status sample(const mfm::model& model, mfm::session& session) {
  std::vector<float> samples(4 * model.dimension());
  return session.try_sample(samples);
}

mfm::status save(const mfm::model& model, mfm::session&) { return model.try_save("cancelled.mfm"); }

mfm::status load(const mfm::model&, mfm::session&) {
  mfm::model again;
  return mfm::model::try_load("cancelled.mfm", again);
}

mfm::status open(const mfm::model& model, mfm::session&) {
  mfm::session_options options;
  options.threads = 3;
  mfm::session another;
  return mfm::session::try_open(model, another, options);
}

}  // namespace

int main() {
#ifdef SANITIZED
  std::printf("skipped\n");
  return 77;
#endif
  const mfm::model model = the_model();
  int told = 0;
  mfm::session_options how;
  how.progress = [&](const mfm_progress&) {
    ++told;
    pthread_testcancel();  // Here, too, it is only pending.
  };
  mfm::session session = a_session(model, how);
  for (int round = 0; round < 3; ++round) {
    ends_after({sample, model, session, false, false}, "sample");
    ends_after({save, model, session, false, false}, "save");
    ends_after({load, model, session, false, false}, "load");
    ends_after({open, model, session, false, false}, "open");
  }
  CHECK(told > 0 && sample(model, session).ok());
  // A thread that cannot be cancelled stays so.
  int before = PTHREAD_CANCEL_ENABLE;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  CHECK(sample(model, session).ok());
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
  CHECK(before == PTHREAD_CANCEL_DISABLE);
  return finish();
}
