// Tensors cross without copies, are deleted once, and are refused with a reason. The structures are dlpack.h's, version 1.
#include "check.hpp"

struct DLDevice {
  std::int32_t device_type, device_id;
};
struct DLDataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};
struct DLManagedTensorVersioned {
  std::uint32_t major, minor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned*);
  std::uint64_t flags;
  DLTensor dl_tensor;
};

namespace {

int deleted = 0;

/// A tensor of two states of 64 numbers at `data`.
struct states {
  std::int64_t shape[2] = {2, 64}, strides[2] = {64, 1};
  DLManagedTensorVersioned tensor{};

  explicit states(float* data) {
    tensor.major = 1;
    tensor.minor = 1;
    tensor.manager_ctx = this;
    tensor.deleter = [](DLManagedTensorVersioned* self) {
      ++deleted;
      delete static_cast<states*>(self->manager_ctx);
    };
    tensor.dl_tensor = {data, {1, 0}, 2, {2, 32, 1}, shape, strides, 0};
  }
};

}  // namespace

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

  // Refused, with the tensor given back each time.
  const auto refused = [&](mfm_code code, const char* what, auto&& change) {
    auto* given = new states(memory.data());
    change(*given);
    deleted = 0;
    DLManagedTensorVersioned* out = nullptr;
    expect(session.try_posterior_dlpack(&given->tensor, out, options), code, what);
    CHECK(deleted == 1 && !out);
  };
  refused(MFM_DLPACK, "major version 2", [](states& s) { s.tensor.major = 2; });
  refused(MFM_DLPACK, "a tensor on CUDA", [](states& s) { s.tensor.dl_tensor.device = {2, 0}; });
  refused(MFM_DLPACK, "float64", [](states& s) { s.tensor.dl_tensor.dtype.bits = 64; });
  refused(MFM_DLPACK, "integers", [](states& s) { s.tensor.dl_tensor.dtype.code = 0; });
  refused(MFM_DLPACK, "a transposed tensor", [](states& s) { s.strides[0] = 1, s.strides[1] = 2; });
  refused(MFM_DLPACK, "a negative axis", [](states& s) { s.shape[0] = -2; });
  refused(MFM_DLPACK, "rank 9", [](states& s) { s.tensor.dl_tensor.ndim = 9; });
  refused(MFM_DLPACK, "null data", [](states& s) { s.tensor.dl_tensor.data = nullptr; });
  refused(MFM_DLPACK, "a skewed offset", [](states& s) { s.tensor.dl_tensor.byte_offset = 2; });
  refused(MFM_LENGTH, "rank 1", [](states& s) { s.tensor.dl_tensor.ndim = 1, s.strides[0] = 1; });
  refused(MFM_LENGTH, "63 numbers a state", [](states& s) { s.shape[1] = 63, s.strides[0] = 63; });
  refused(MFM_EMPTY, "no states", [](states& s) { s.shape[0] = 0; });
  DLManagedTensorVersioned* out = nullptr;
  expect(session.try_posterior_dlpack(nullptr, out, options), MFM_NULL_POINTER, "a null tensor");
  expect(session.try_sample_dlpack(0, out), MFM_EMPTY, "no samples");
  auto* given = new states(memory.data());
  deleted = 0;
  expect(mfm::session().try_posterior_dlpack(&given->tensor, out, options), MFM_NULL_POINTER, "no session");
  CHECK(deleted == 1);
  return finish();
}
