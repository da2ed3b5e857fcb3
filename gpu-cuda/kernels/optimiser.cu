// One step of mfm_nn::Optimiser, and the moving average of the parameters, in one pass.
#include "storage.cuh"
#include "warp.cuh"

// The new state of one parameter, and its moving average.
struct Step {
  float parameter, first, second, average;
  __device__ __forceinline__ Step(const OptimiserArgs& args, float parameter, float gradient, float first, float second, float average)
      : first(args.first_decay * first + args.first_rest * gradient),
        second(args.second_decay * second + args.second_rest * (gradient * gradient)) {
    // A root of 32 bits is 0 or large enough for its reciprocal to be finite.
    const float along = args.op == OPTIMISER_PLAIN ? 1.0f : fast_reciprocal(fast_sqrt(this->second) + args.epsilon);
    this->parameter = args.keep * parameter - args.step * (this->first * along);
    this->average = args.average_decay * average + args.average_rest * this->parameter;
  }
};

// Of gradients in G for a state in T.
template <class G, class T>
__device__ __forceinline__ void optimiser(const OptimiserArgs& args) {
  const G* const gradient = static_cast<const G*>(args.gradient);
  const T* const parameters = static_cast<const T*>(args.parameters);
  const T* const first = static_cast<const T*>(args.first);
  const T* const second = static_cast<const T*>(args.second);
  const T* const average = static_cast<const T*>(args.average);
  T* const new_parameters = static_cast<T*>(args.new_parameters);
  T* const new_first = static_cast<T*>(args.new_first);
  T* const new_second = static_cast<T*>(args.new_second);
  T* const new_average = static_cast<T*>(args.new_average);
  bf16* const working = static_cast<bf16*>(args.working);
  const bool aligned = is_aligned(parameters) && is_aligned(gradient) && is_aligned(first) && is_aligned(second) && is_aligned(average) &&
                       is_aligned(new_parameters) && is_aligned(new_first) && is_aligned(new_second) && is_aligned(new_average) && is_aligned(working);
  // In f64, as all long sums are.
  double sum = 0.0;
  const long long fours = aligned ? args.elements / 4 : 0;
  for (long long four = grid_start(); four < fours; four += grid_stride()) {
    // All that is read is under way before the first of it is looked at; a warp's accesses are whole lines.
    const long long i = 4 * four;
    const auto of_gradient = load_four(gradient + i);
    const auto of_parameters = load_four(parameters + i), of_first = load_four(first + i), of_second = load_four(second + i);
    const auto of_average = load_four((average != nullptr ? average : parameters) + i);
    float p[4], g[4], m[4], v[4], a[4];
    expand(of_parameters, p), expand(of_gradient, g), expand(of_first, m), expand(of_second, v), expand(of_average, a);
#pragma unroll
    for (int lane = 0; lane < 4; ++lane) {
      const Step step(args, p[lane], g[lane], m[lane], v[lane], a[lane]);
      p[lane] = step.parameter, m[lane] = step.first, v[lane] = step.second, a[lane] = step.average;
    }
    store_four(new_parameters + i, p), store_four(new_first + i, m), store_four(new_second + i, v);
    if (average != nullptr) store_four(new_average + i, a);
    if (working != nullptr) store_four(working + i, p);
    sum += static_cast<double>(sum_of(p));
  }
  for (long long i = 4 * fours + grid_start(); i < args.elements; i += grid_stride()) {
    const Step step(args, load(parameters + i), load(gradient + i), load(first + i), load(second + i), average != nullptr ? load(average + i) : 0.0f);
    store(new_parameters + i, step.parameter), store(new_first + i, step.first), store(new_second + i, step.second);
    if (average != nullptr) store(new_average + i, step.average);
    if (working != nullptr) store(working + i, step.parameter);
    sum += static_cast<double>(step.parameter);
  }
  const float total = static_cast<float>(fold_block(sum, 0.0, Sum()));
  if (threadIdx.x == 0) args.sums[blockIdx.x] = total;
}
KERNEL(optimiser_f32_f32, OptimiserArgs, POINTWISE_THREADS) { optimiser<float, float>(args); }
KERNEL(optimiser_bf16_bf16, OptimiserArgs, POINTWISE_THREADS) { optimiser<bf16, bf16>(args); }
KERNEL(optimiser_bf16_f32, OptimiserArgs, POINTWISE_THREADS) { optimiser<bf16, float>(args); }
