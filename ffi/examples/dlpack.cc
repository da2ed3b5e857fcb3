// Tensors that cross without copies, as PyTorch, JAX or CuPy have them: samples come out, noisy states of the host's own go in, draws of what they may have
// been come out.
//
//   dlpack MODEL
#include <mfm/mfm.hpp>

#include <cmath>
#include <iostream>
#include <memory>
#include <random>
#include <vector>

// What dlpack.h says; a host that has it includes it instead.
struct DLPackVersion {
  std::uint32_t major, minor;
};
enum DLDeviceType : std::int32_t { kDLCPU = 1 };
enum DLDataTypeCode : std::uint8_t { kDLFloat = 2 };
struct DLDevice {
  DLDeviceType device_type;
  std::int32_t device_id;
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
  std::int64_t *shape, *strides;
  std::uint64_t byte_offset;
};
struct DLManagedTensorVersioned {
  DLPackVersion version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned*);
  std::uint64_t flags;
  DLTensor dl_tensor;
};

namespace {

/// A tensor of the host's on the CPU, and its memory. Whoever is done with it calls the deleter, which frees both.
struct own_tensor {
  std::vector<float> numbers;
  std::int64_t shape[2];
  DLManagedTensorVersioned managed{};

  own_tensor(std::size_t items, std::size_t dimension)
      : numbers(items * dimension), shape{static_cast<std::int64_t>(items), static_cast<std::int64_t>(dimension)} {
    managed.version = {1, 0};
    managed.manager_ctx = this;
    managed.deleter = [](DLManagedTensorVersioned* self) { delete static_cast<own_tensor*>(self->manager_ctx); };
    managed.dl_tensor = {numbers.data(), {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, nullptr, 0};  // Two axes; float32; row-major.
  }
};

/// The numbers of a tensor on the CPU, where they are.
mfm::span<const float> numbers(const mfm::tensor& tensor) {
  const DLTensor& view = tensor->dl_tensor;
  const char* start = static_cast<const char*>(view.data) + view.byte_offset;
  return {reinterpret_cast<const float*>(start), static_cast<std::size_t>(view.shape[0] * view.shape[1])};
}

float distance(mfm::span<const float> a, mfm::span<const float> b) {
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / static_cast<float>(a.size()));
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 2) {
    std::cerr << "usage: dlpack MODEL\n";
    return 2;
  }
  const mfm::model model = mfm::model::load(arguments[1]);
  mfm::session session(model);
  const std::size_t items = 16;
  // Owned by the host, whose tensors give themselves back; they may outlive the session.
  const mfm::tensor samples(session.sample_dlpack(items));
  const mfm::span<const float> clean = numbers(samples);

  // At t = 0.8 of the linear path: noise is a fifth.
  mfm::posterior_options options;
  options.time = 0.8;
  auto noisy = std::make_unique<own_tensor>(items, model.dimension());
  std::mt19937 random(1);
  std::normal_distribution<float> noise;
  for (std::size_t i = 0; i < clean.size(); ++i) noisy->numbers[i] = 0.8f * clean[i] + 0.2f * noise(random);
  const float before = distance(clean, noisy->numbers);
  // The library's from here on: it deletes what is handed in, also if the call fails.
  const mfm::tensor draws(session.posterior_dlpack(&noisy.release()->managed, options));

  const float after = distance(clean, numbers(draws));
  std::cout << "noisy states are " << before << " from their samples, draws of what they were " << after << '\n';
  return after < before ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
