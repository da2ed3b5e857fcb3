// Sums and maxima along an axis. Sums of 16 bytes are made in f32, those of more in f64: no length costs accuracy.
#include "space.cuh"
#include "warp.cuh"

// A running sum.
struct RunningSum {
  double value = 0.0;
  __device__ __forceinline__ void add(float x) { value += static_cast<double>(x); }
  template <int N>
  __device__ __forceinline__ void add_all(const float (&x)[N]) {
    float sum[N];
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] = x[k];
#pragma unroll
    for (int half = N / 2; half > 0; half /= 2) {
#pragma unroll
      for (int k = 0; k < half; ++k) sum[k] += sum[k + half];
    }
    add(sum[0]);
  }
  __device__ __forceinline__ float over_block() const { return static_cast<float>(fold_block(value, 0.0, Sum())); }
  __device__ __forceinline__ float result() const { return static_cast<float>(value); }
};

// A running maximum.
struct RunningMaximum {
  float value = -infinity();
  __device__ __forceinline__ void add(float x) { value = larger(value, x); }
  template <int N>
  __device__ __forceinline__ void add_all(const float (&x)[N]) {
#pragma unroll
    for (int k = 0; k < N; ++k) add(x[k]);
  }
  __device__ __forceinline__ float over_block() const { return fold_block(value, -infinity(), Larger()); }
  __device__ __forceinline__ float result() const { return value; }
};

// The entries of a part.
struct Part {
  long long first, end;
  __device__ __forceinline__ Part(const ReduceArgs& args, int part) {
    const long long run = (args.length + args.parts - 1) / args.parts;
    first = part * run < args.length ? part * run : args.length;
    end = first + run < args.length ? first + run : args.length;
  }
};

template <class Running, class S, class T>
__device__ __forceinline__ void reduce_rows_by(const ReduceArgs& args) {
  const Part part(args, blockIdx.y);
  T* const out = static_cast<T*>(args.out) + blockIdx.y * args.space.elements;
  for (long long i = blockIdx.x; i < args.space.elements; i += gridDim.x) {
    const S* const x = static_cast<const S*>(args.x.data) + offset_of(args.space, args.x, i) + part.first * args.stride;
    Running running;
    if (args.stride == 1) {
      for_row(x, part.end - part.first, [&](long long, int count, const float(&values)[LANES<S>]) {
        if (count == 1) {
          running.add(values[0]);
        } else {
          running.add_all(values);
        }
      });
    } else {
      for (long long j = threadIdx.x; j < part.end - part.first; j += blockDim.x) running.add(load(x + j * args.stride));
    }
    const float result = running.over_block();
    if (threadIdx.x == 0) store(out + i, result);
  }
}

template <class S, class T>
__device__ __forceinline__ void reduce_rows(const ReduceArgs& args) {
  if (args.op == REDUCE_SUM) {
    reduce_rows_by<RunningSum, S, T>(args);
  } else {
    reduce_rows_by<RunningMaximum, S, T>(args);
  }
}
KERNEL(reduce_rows_f32_f32, ReduceArgs, ROW_THREADS) { reduce_rows<float, float>(args); }
KERNEL(reduce_rows_f32_bf16, ReduceArgs, ROW_THREADS) { reduce_rows<float, bf16>(args); }
KERNEL(reduce_rows_bf16_f32, ReduceArgs, ROW_THREADS) { reduce_rows<bf16, float>(args); }
KERNEL(reduce_rows_bf16_bf16, ReduceArgs, ROW_THREADS) { reduce_rows<bf16, bf16>(args); }

// N outputs of a thread that lie side by side, in the input too.
template <class Running, class S, class T>
__device__ __forceinline__ void reduce_columns_by(const ReduceArgs& args) {
  constexpr int N = LANES<S>;
  const Part part(args, blockIdx.y);
  T* const out = static_cast<T*>(args.out) + blockIdx.y * args.space.elements;
  const S* const x = static_cast<const S*>(args.x.data);
  const bool side_by_side = access_of<S>(args.space, args.x) == Access::Vector && args.stride % N == 0;
  const long long vectors = side_by_side ? whole_vectors<S>(args.space) : 0;
  for (long long v = grid_start(); v < vectors; v += grid_stride()) {
    const S* const column = x + offset_of(args.space, args.x, v * N);
    Running running[N];
#pragma unroll 4
    for (long long j = part.first; j < part.end; ++j) {
      float values[N];
      load_lanes(column + j * args.stride, values);
#pragma unroll
      for (int lane = 0; lane < N; ++lane) running[lane].add(values[lane]);
    }
#pragma unroll
    for (int lane = 0; lane < N; ++lane) store(out + v * N + lane, running[lane].result());
  }
  for (long long i = vectors * N + grid_start(); i < args.space.elements; i += grid_stride()) {
    const S* const column = x + offset_of(args.space, args.x, i);
    Running running;
#pragma unroll 4
    for (long long j = part.first; j < part.end; ++j) running.add(load(column + j * args.stride));
    store(out + i, running.result());
  }
}

template <class S, class T>
__device__ __forceinline__ void reduce_columns(const ReduceArgs& args) {
  if (args.op == REDUCE_SUM) {
    reduce_columns_by<RunningSum, S, T>(args);
  } else {
    reduce_columns_by<RunningMaximum, S, T>(args);
  }
}
KERNEL(reduce_columns_f32_f32, ReduceArgs, POINTWISE_THREADS) { reduce_columns<float, float>(args); }
KERNEL(reduce_columns_f32_bf16, ReduceArgs, POINTWISE_THREADS) { reduce_columns<float, bf16>(args); }
KERNEL(reduce_columns_bf16_f32, ReduceArgs, POINTWISE_THREADS) { reduce_columns<bf16, float>(args); }
KERNEL(reduce_columns_bf16_bf16, ReduceArgs, POINTWISE_THREADS) { reduce_columns<bf16, bf16>(args); }
