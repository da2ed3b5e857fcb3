// One step of mfm_nn::Optimiser, and the moving average of the parameters, in one pass.
#include "storage.cuh"

// The new state of one parameter, and its moving average.
struct Step {
  float parameter, first, second, average;
  __device__ __forceinline__ Step(const OptimiserArgs& args, float parameter, float gradient, float first, float second, float average)
      : first(args.first_decay * first + (1.0f - args.first_decay) * gradient),
        second(args.second_decay * second + (1.0f - args.second_decay) * (gradient * gradient)) {
    // A root of 32 bits is 0 or large enough for its reciprocal to be finite.
    const float along = args.op == OPTIMISER_RADAM_PLAIN ? 1.0f : fast_reciprocal(fast_sqrt(this->second) + args.epsilon);
    this->parameter = args.keep * parameter - args.step * (this->first * along);
    this->average = args.average_decay * average + (1.0f - args.average_decay) * this->parameter;
  }
};

// N elements of T from an address that is a multiple of 16: all of the bits first, so that loads of several operands are under way at once.
template <class T, int N>
struct Words {
  uint4 words[N / LANES<T>];
  __device__ __forceinline__ explicit Words(const T* p) {
#pragma unroll
    for (int k = 0; k < N / LANES<T>; ++k) words[k] = p != nullptr ? load_words(p + k * LANES<T>) : make_uint4(0, 0, 0, 0);
  }
  __device__ __forceinline__ void expand_to(float (&out)[N]) const {
#pragma unroll
    for (int k = 0; k < N / LANES<T>; ++k) {
      float part[LANES<T>];
      expand(words[k], part);
#pragma unroll
      for (int lane = 0; lane < LANES<T>; ++lane) out[k * LANES<T> + lane] = part[lane];
    }
  }
};
template <class T, int N>
__device__ __forceinline__ void store_words(T* p, const float (&v)[N]) {
#pragma unroll
  for (int k = 0; k < N / LANES<T>; ++k) {
    float part[LANES<T>];
#pragma unroll
    for (int lane = 0; lane < LANES<T>; ++lane) part[lane] = v[k * LANES<T> + lane];
    store_lanes(p + k * LANES<T>, part);
  }
}

// Of gradients in G for a state in T.
template <class G, class T>
__device__ __forceinline__ void optimiser(const OptimiserArgs& args) {
  constexpr int N = LANES<G> > LANES<T> ? LANES<G> : LANES<T>;
  const G* const gradient = static_cast<const G*>(args.gradient);
  const T* const parameters = static_cast<const T*>(args.parameters);
  const T* const first = static_cast<const T*>(args.first);
  const T* const second = static_cast<const T*>(args.second);
  const T* const average = static_cast<const T*>(args.average);
  T* const new_parameters = static_cast<T*>(args.new_parameters);
  T* const new_first = static_cast<T*>(args.new_first);
  T* const new_second = static_cast<T*>(args.new_second);
  T* const new_average = static_cast<T*>(args.new_average);
  const bool aligned = is_aligned(parameters) && is_aligned(gradient) && is_aligned(first) && is_aligned(second) && is_aligned(average) &&
                       is_aligned(new_parameters) && is_aligned(new_first) && is_aligned(new_second) && is_aligned(new_average);
  const long long vectors = aligned ? args.elements / N : 0;
  for (long long vector = grid_start(); vector < vectors; vector += grid_stride()) {
    const long long i = vector * N;
    const Words<G, N> of_gradient(gradient + i);
    const Words<T, N> of_parameters(parameters + i), of_first(first + i), of_second(second + i), of_average(average != nullptr ? average + i : nullptr);
    float p[N], g[N], m[N], v[N], a[N];
    of_parameters.expand_to(p), of_gradient.expand_to(g), of_first.expand_to(m), of_second.expand_to(v), of_average.expand_to(a);
#pragma unroll
    for (int lane = 0; lane < N; ++lane) {
      const Step step(args, p[lane], g[lane], m[lane], v[lane], a[lane]);
      p[lane] = step.parameter, m[lane] = step.first, v[lane] = step.second, a[lane] = step.average;
    }
    store_words(new_parameters + i, p), store_words(new_first + i, m), store_words(new_second + i, v);
    if (average != nullptr) store_words(new_average + i, a);
  }
  for (long long i = vectors * N + grid_start(); i < args.elements; i += grid_stride()) {
    const Step step(args, load(parameters + i), load(gradient + i), load(first + i), load(second + i), average != nullptr ? load(average + i) : 0.0f);
    store(new_parameters + i, step.parameter), store(new_first + i, step.first), store(new_second + i, step.second);
    if (average != nullptr) store(new_average + i, step.average);
  }
}
KERNEL(optimiser_f32_f32, OptimiserArgs, POINTWISE_THREADS) { optimiser<float, float>(args); }
KERNEL(optimiser_bf16_bf16, OptimiserArgs, POINTWISE_THREADS) { optimiser<bf16, bf16>(args); }
KERNEL(optimiser_bf16_f32, OptimiserArgs, POINTWISE_THREADS) { optimiser<bf16, float>(args); }
