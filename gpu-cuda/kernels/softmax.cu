// Softmax, log-mean-exp and dot products of contiguous rows.
#include "space.cuh"
#include "warp.cuh"

// The maximum of a row, 0 if it is −∞, and Σ e^(x − maximum).
template <class T>
__device__ __forceinline__ void exponentials(const T* row, long long width, float& maximum, float& sum) {
  constexpr int N = LANES<T>;
  float largest = -infinity();
  for_row(row, width, [&](long long, int count, const float(&x)[N]) {
#pragma unroll
    for (int lane = 0; lane < N; ++lane) {
      if (lane < count) largest = larger(largest, x[lane]);
    }
  });
  largest = fold_block(largest, -infinity(), Larger());
  if (largest == -infinity()) largest = 0.0f;
  double total = 0.0;
  for_row(row, width, [&](long long, int count, const float(&x)[N]) {
    float part = 0.0f;
#pragma unroll
    for (int lane = 0; lane < N; ++lane) part += lane < count ? expf(x[lane] - largest) : 0.0f;
    total += static_cast<double>(part);
  });
  maximum = largest;
  sum = static_cast<float>(fold_block(total, 0.0, Sum()));
}

// e^(x − maximum)/Σ of a row.
template <class T>
__device__ __forceinline__ void write_weights(const T* row, T* out, long long width, float maximum, float sum) {
  constexpr int N = LANES<T>;
  for_row(row, width, [&](long long start, int count, const float(&x)[N]) {
    float y[N];
#pragma unroll
    for (int lane = 0; lane < N; ++lane) y[lane] = expf(x[lane] - maximum) / sum;
    store_part(out + start, count, y);
  });
}

// Σ x y of a row, in every thread.
template <class T>
__device__ __forceinline__ float dot(const T* x, const T* y, long long width) {
  constexpr int N = LANES<T>;
  double sum = 0.0;
  for_row(x, width, [&](long long start, int count, const float(&v)[N]) {
    float w[N], part = 0.0f;
    load_part(y + start, count, w);
#pragma unroll
    for (int lane = 0; lane < N; ++lane) part += v[lane] * w[lane];
    sum += static_cast<double>(part);
  });
  return static_cast<float>(fold_block(sum, 0.0, Sum()));
}

template <class T>
__device__ __forceinline__ void softmax(const RowsArgs& args) {
  for (long long r = blockIdx.x; r < args.rows; r += gridDim.x) {
    const T* const x = static_cast<const T*>(args.x) + r * args.width;
    float maximum, sum;
    exponentials(x, args.width, maximum, sum);
    write_weights(x, static_cast<T*>(args.out) + r * args.width, args.width, maximum, sum);
  }
}
KERNEL_OF_BOTH(softmax, RowsArgs, ROW_THREADS)

template <class T>
__device__ __forceinline__ void softmax_gradient(const RowsArgs& args) {
  constexpr int N = LANES<T>;
  for (long long r = blockIdx.x; r < args.rows; r += gridDim.x) {
    const T* const y = static_cast<const T*>(args.y) + r * args.width;
    const T* const g = static_cast<const T*>(args.g) + r * args.width;
    T* const out = static_cast<T*>(args.out) + r * args.width;
    const float mean = dot(y, g, args.width);
    for_row(y, args.width, [&](long long start, int count, const float(&p)[N]) {
      float w[N];
      load_part(g + start, count, w);
#pragma unroll
      for (int lane = 0; lane < N; ++lane) w[lane] = p[lane] * (w[lane] - mean);
      store_part(out + start, count, w);
    });
  }
}
KERNEL_OF_BOTH(softmax_gradient, RowsArgs, ROW_THREADS)

template <class T>
__device__ __forceinline__ void log_mean_exp(const RowsArgs& args) {
  for (long long r = blockIdx.x; r < args.rows; r += gridDim.x) {
    const T* const x = static_cast<const T*>(args.x) + r * args.width;
    float maximum, sum;
    exponentials(x, args.width, maximum, sum);
    if (threadIdx.x == 0) store(static_cast<T*>(args.value) + r, logf(sum / static_cast<float>(args.width)) + maximum);
    if (args.weights != nullptr) write_weights(x, static_cast<T*>(args.weights) + r * args.width, args.width, maximum, sum);
  }
}
KERNEL_OF_BOTH(log_mean_exp, RowsArgs, ROW_THREADS)

template <class T>
__device__ __forceinline__ void row_dots(const RowsArgs& args) {
  for (long long r = blockIdx.x; r < args.rows; r += gridDim.x) {
    const float value = dot(static_cast<const T*>(args.x) + r * args.width, static_cast<const T*>(args.y) + r * args.width, args.width);
    if (threadIdx.x == 0) store(static_cast<T*>(args.value) + r, value);
  }
}
KERNEL_OF_BOTH(row_dots, RowsArgs, ROW_THREADS)
