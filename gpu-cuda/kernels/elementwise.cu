// Element-wise operations over operands that broadcast.
#include "functions.cuh"
#include "space.cuh"

template <class T>
__device__ __forceinline__ void unary(const UnaryArgs& args) {
  pointwise<T, 1, 1>(args.space, {&args.x}, {static_cast<T*>(args.out)},
                     [&](const float(&x)[1], float(&y)[1]) { y[0] = unary(args.op, args.constant, x[0]); });
}
KERNEL_OF_BOTH(unary, UnaryArgs, POINTWISE_THREADS)

template <class T>
__device__ __forceinline__ void binary(const BinaryArgs& args) {
  pointwise<T, 2, 1>(args.space, {&args.a, &args.b}, {static_cast<T*>(args.out)},
                     [&](const float(&x)[2], float(&y)[1]) { y[0] = binary(args.op, x[0], x[1]); });
}
KERNEL_OF_BOTH(binary, BinaryArgs, POINTWISE_THREADS)

template <class T>
__device__ __forceinline__ void select(const SelectArgs& args) {
  pointwise<T, 3, 1>(args.space, {&args.mask, &args.yes, &args.no}, {static_cast<T*>(args.out)},
                     [](const float(&x)[3], float(&y)[1]) { y[0] = x[0] != 0.0f ? x[1] : x[2]; });
}
KERNEL_OF_BOTH(select, SelectArgs, POINTWISE_THREADS)

// K operands at most, so that a combination of two does not hold the registers of eight.
template <class T, int K>
__device__ __forceinline__ void combine_up_to(const CombineArgs& args) {
  const View* views[K];
#pragma unroll
  for (int k = 0; k < K; ++k) views[k] = &args.x[k];
  const View* const(&fixed)[K] = views;
  pointwise<T, K, 1>(args.space, fixed, {static_cast<T*>(args.out)}, [&](const float(&x)[K], float(&y)[1]) {
    float sum = args.factor[0] * x[0];
#pragma unroll
    for (int k = 1; k < K; ++k) {
      if (k < args.terms) sum += args.factor[k] * x[k];
    }
    y[0] = sum;
  });
}

template <class T>
__device__ __forceinline__ void combine(const CombineArgs& args) {
  if (args.terms <= 2) {
    combine_up_to<T, 2>(args);
  } else if (args.terms <= 4) {
    combine_up_to<T, 4>(args);
  } else {
    combine_up_to<T, 8>(args);
  }
}
// Resident thrice, so that the registers of eight operands do not keep a combination of two from hiding the memory's latency.
KERNEL_RESIDENT(combine_f32, CombineArgs, POINTWISE_THREADS, 3) { combine<float>(args); }
KERNEL_RESIDENT(combine_bf16, CombineArgs, POINTWISE_THREADS, 3) { combine<bf16>(args); }

// By<OP>::run(args) with the activation as a constant: no lane asks which it is.
template <template <int> class By, class Args>
__device__ __forceinline__ void with_activation(const Args& args) {
  switch (args.op) {
    case ACTIVATION_SILU: return By<ACTIVATION_SILU>::run(args);
    case ACTIVATION_GELU: return By<ACTIVATION_GELU>::run(args);
    case ACTIVATION_TANH: return By<ACTIVATION_TANH>::run(args);
    default: return By<ACTIVATION_IDENTITY>::run(args);
  }
}

template <class T>
struct Activate {
  template <int OP>
  struct Value {
    static __device__ __forceinline__ void run(const ActivateArgs& args) {
      pointwise_contiguous<T, 1, 1>(args.elements, {static_cast<const T*>(args.x)}, {static_cast<T*>(args.out)},
                                    [](const float(&x)[1], float(&y)[1]) { y[0] = activation(OP, x[0]); });
    }
  };
  template <int OP>
  struct Pullback {
    static __device__ __forceinline__ void run(const ActivateArgs& args) {
      pointwise_contiguous<T, 2, 1>(args.elements, {static_cast<const T*>(args.x), static_cast<const T*>(args.g)}, {static_cast<T*>(args.out)},
                                    [](const float(&x)[2], float(&y)[1]) { y[0] = activation_slope(OP, x[0]) * x[1]; });
    }
  };
  template <int OP>
  struct Tangent {
    static __device__ __forceinline__ void run(const ActivateArgs& args) {
      pointwise_contiguous<T, 2, 2>(args.elements, {static_cast<const T*>(args.x), static_cast<const T*>(args.g)},
                                    {static_cast<T*>(args.out), static_cast<T*>(args.tangent)}, [](const float(&x)[2], float(&y)[2]) {
                                      y[0] = activation(OP, x[0]);
                                      y[1] = activation_slope(OP, x[0]) * x[1];
                                    });
    }
  };
};

template <class T>
__device__ __forceinline__ void activate(const ActivateArgs& args) {
  with_activation<Activate<T>::template Value>(args);
}
KERNEL_OF_BOTH(activate, ActivateArgs, POINTWISE_THREADS)

template <class T>
__device__ __forceinline__ void activate_vjp(const ActivateArgs& args) {
  with_activation<Activate<T>::template Pullback>(args);
}
KERNEL_OF_BOTH(activate_vjp, ActivateArgs, POINTWISE_THREADS)

template <class T>
__device__ __forceinline__ void activate_jvp(const ActivateArgs& args) {
  with_activation<Activate<T>::template Tangent>(args);
}
KERNEL_OF_BOTH(activate_jvp, ActivateArgs, POINTWISE_THREADS)
