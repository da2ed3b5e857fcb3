// One step of mfm_nn::Optimiser, and the moving average of the parameters, in one pass over several tensors.
#include "storage.cuh"

// The new state of one parameter.
struct Step {
  float first, second, parameter;
  __device__ __forceinline__ Step(const OptimiserArgs& args, float parameter, float gradient, float first, float second)
      : first(args.first_decay * first + (1.0f - args.first_decay) * gradient),
        second(args.second_decay * second + (1.0f - args.second_decay) * (gradient * gradient)) {
    const float direction = args.op == OPTIMISER_RADAM_PLAIN ? this->first : this->first / (sqrtf(this->second) + args.epsilon);
    this->parameter = args.keep * parameter - args.step * direction;
  }
};

template <class T>
__device__ __forceinline__ void optimiser(const OptimiserArgs& args) {
  constexpr int N = LANES<T>;
  const OptimiserTensor tensor = args.tensors[blockIdx.y];
  const T* const parameters = static_cast<const T*>(tensor.parameters);
  const T* const gradient = static_cast<const T*>(tensor.gradient);
  const T* const first = static_cast<const T*>(tensor.first);
  const T* const second = static_cast<const T*>(tensor.second);
  const T* const average = static_cast<const T*>(tensor.average);
  T* const new_parameters = static_cast<T*>(tensor.new_parameters);
  T* const new_first = static_cast<T*>(tensor.new_first);
  T* const new_second = static_cast<T*>(tensor.new_second);
  T* const new_average = static_cast<T*>(tensor.new_average);
  const bool aligned = is_aligned(parameters) && is_aligned(gradient) && is_aligned(first) && is_aligned(second) && is_aligned(average) &&
                       is_aligned(new_parameters) && is_aligned(new_first) && is_aligned(new_second) && is_aligned(new_average);
  const long long vectors = aligned ? tensor.elements / N : 0;
  const long long parts = vectors + (tensor.elements - vectors * N);
  for (long long part = grid_start(); part < parts; part += grid_stride()) {
    const int count = part < vectors ? N : 1;
    const long long i = part < vectors ? part * N : vectors * N + (part - vectors);
    float p[N], g[N], m[N], v[N], a[N];
    load_part(parameters + i, count, p);
    load_part(gradient + i, count, g);
    load_part(first + i, count, m);
    load_part(second + i, count, v);
    if (average != nullptr) load_part(average + i, count, a);
#pragma unroll
    for (int lane = 0; lane < N; ++lane) {
      const Step step(args, p[lane], g[lane], m[lane], v[lane]);
      p[lane] = step.parameter, m[lane] = step.first, v[lane] = step.second;
      if (average != nullptr) a[lane] = args.average_decay * a[lane] + (1.0f - args.average_decay) * p[lane];
    }
    store_part(new_parameters + i, count, p);
    store_part(new_first + i, count, m);
    store_part(new_second + i, count, v);
    if (average != nullptr) store_part(new_average + i, count, a);
  }
}
KERNEL_OF_BOTH(optimiser, OptimiserArgs, POINTWISE_THREADS)
