// Tensors cross without copies, are deleted once, and are refused with a reason.
#include "dlpack.hpp"

int main() {
  const mfm::model model = the_model();
  mfm::session session = a_session(model);
  std::vector<float> memory(2 * 64 + 1, 2.0f), draws(2 * 64);
  mfm::posterior_options options;
  options.time = 0.3;
  mfm::span<const float> inside(memory.data() + 1, 128);
  CHECK(session.try_posterior(inside, draws, options).ok());

  // In and out: the same numbers, one deletion. The second with an offset and without strides.
  for (int way : {0, 1}) {
    auto* given = new states(memory.data() + (way == 0 ? 1 : 0));
    if (way == 1) {
      given->tensor.dl_tensor.byte_offset = sizeof(float);
      given->tensor.dl_tensor.strides = nullptr;
    }
    deleted = 0;
    DLManagedTensorVersioned* out = nullptr;
    CHECK(session.try_posterior_dlpack(&given->tensor, out, options).ok());
    CHECK(deleted == 1 && out);
    const DLTensor& view = out->dl_tensor;
    CHECK(out->major == 1 && view.ndim == 2 && view.shape[0] == 2 && view.shape[1] == 64 && view.strides[0] == 64 && view.strides[1] == 1);
    CHECK(view.device.device_type == 1 && view.dtype.code == 2 && view.dtype.bits == 32 && view.dtype.lanes == 1);
    CHECK(std::memcmp(static_cast<const char*>(view.data) + view.byte_offset, draws.data(), draws.size() * sizeof(float)) == 0);
    out->deleter(out);
  }

  // A tensor outlives its session and its model.
  DLManagedTensorVersioned *samples = nullptr, *steered = nullptr;
  std::vector<float> same(3 * 64), too(3 * 64);
  {
    const mfm::model short_lived = the_model();
    mfm::session shorter = a_session(short_lived, {2, nullptr, {}, {}});
    CHECK(shorter.try_sample_dlpack(3, samples).ok() && shorter.try_steer_dlpack(target(), 3, steered).ok());
    CHECK(shorter.try_sample(same).ok() && shorter.try_steer(target(), too).ok());
  }
  CHECK(std::memcmp(samples->dl_tensor.data, same.data(), same.size() * sizeof(float)) == 0);
  CHECK(std::memcmp(steered->dl_tensor.data, too.data(), too.size() * sizeof(float)) == 0);
  samples->deleter(samples);
  steered->deleter(steered);

  refuse_all(session, memory.data(), {1, 0}, {2, 0});
  DLManagedTensorVersioned* out = nullptr;
  expect(session.try_posterior_dlpack(nullptr, out, options), MFM_NULL_POINTER, "a null tensor");
  expect(session.try_sample_dlpack(0, out), MFM_EMPTY, "no samples");
  auto* given = new states(memory.data());
  deleted = 0;
  expect(mfm::session().try_posterior_dlpack(&given->tensor, out, options), MFM_NULL_POINTER, "no session");
  CHECK(deleted == 1);
  return finish();
}
