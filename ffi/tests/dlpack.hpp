// The structures of dlpack.h, version 1, and a tensor of the host's that counts its deletions.
#pragma once

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

inline int deleted = 0;

/// A tensor of two states of 64 numbers at `data`, on a device of DLPack's.
struct states {
  std::int64_t shape[2] = {2, 64}, strides[2] = {64, 1};
  DLManagedTensorVersioned tensor{};

  explicit states(void* data, DLDevice device = {1, 0}) {
    tensor.major = 1;
    tensor.minor = 1;
    tensor.manager_ctx = this;
    tensor.deleter = [](DLManagedTensorVersioned* self) {
      ++deleted;
      delete static_cast<states*>(self->manager_ctx);
    };
    tensor.dl_tensor = {data, device, 2, {2, 32, 1}, shape, strides, 0};
  }
};

/// That a session refuses a tensor that was changed so, and gives it back.
template <class Change>
void refused(mfm::session& session, mfm_code code, const char* what, void* data, DLDevice device, Change&& change) {
  auto* given = new states(data, device);
  change(*given);
  deleted = 0;
  DLManagedTensorVersioned* out = nullptr;
  expect(session.try_posterior_dlpack(&given->tensor, out), code, what);
  CHECK(deleted == 1 && !out);
}

/// What of a tensor no session takes, on whichever device it lives.
inline void refuse_all(mfm::session& session, void* data, DLDevice device, DLDevice elsewhere) {
  const auto refuse = [&](mfm_code code, const char* what, auto&& change) { refused(session, code, what, data, device, change); };
  refuse(MFM_DLPACK, "major version 2", [](states& s) { s.tensor.major = 2; });
  refuse(MFM_DLPACK, "a tensor on another device", [&](states& s) { s.tensor.dl_tensor.device = elsewhere; });
  refuse(MFM_DLPACK, "a tensor on a device of another kind", [](states& s) { s.tensor.dl_tensor.device = {10, 0}; });
  refuse(MFM_DLPACK, "float64", [](states& s) { s.tensor.dl_tensor.dtype.bits = 64; });
  refuse(MFM_DLPACK, "integers", [](states& s) { s.tensor.dl_tensor.dtype.code = 0; });
  refuse(MFM_DLPACK, "vectors", [](states& s) { s.tensor.dl_tensor.dtype.lanes = 2; });
  refuse(MFM_DLPACK, "a transposed tensor", [](states& s) { s.strides[0] = 1, s.strides[1] = 2; });
  refuse(MFM_DLPACK, "rows with gaps", [](states& s) { s.strides[0] = 65; });
  refuse(MFM_DLPACK, "a negative axis", [](states& s) { s.shape[0] = -2; });
  refuse(MFM_DLPACK, "rank 9", [](states& s) { s.tensor.dl_tensor.ndim = 9; });
  refuse(MFM_DLPACK, "null data", [](states& s) { s.tensor.dl_tensor.data = nullptr; });
  refuse(MFM_DLPACK, "a skewed offset", [](states& s) { s.tensor.dl_tensor.byte_offset = 2; });
  refuse(MFM_LENGTH, "rank 1", [](states& s) { s.tensor.dl_tensor.ndim = 1, s.strides[0] = 1; });
  refuse(MFM_LENGTH, "63 numbers a state", [](states& s) { s.shape[1] = 63, s.strides[0] = 63; });
  refuse(MFM_EMPTY, "no states", [](states& s) { s.shape[0] = 0; });
}
