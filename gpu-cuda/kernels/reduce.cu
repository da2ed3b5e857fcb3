// Sums and maxima along an axis. Sums of 16 bytes are made in f32, those of more in f64: no length costs accuracy.
#include "space.cuh"
#include "warp.cuh"

// A running sum.
struct RunningSum {
  double value = 0.0;
  static __device__ __forceinline__ float identity() { return 0.0f; }
  __device__ __forceinline__ void add(float x) { value += static_cast<double>(x); }
  template <int N>
  __device__ __forceinline__ void add_all(const float (&x)[N]) {
    add(sum_of(x));
  }
  __device__ __forceinline__ void join(double other) { value += other; }
  __device__ __forceinline__ float over_block() const { return static_cast<float>(fold_block(value, 0.0, Sum())); }
  __device__ __forceinline__ float result() const { return static_cast<float>(value); }
};

// That of squares.
struct RunningSquares : RunningSum {
  __device__ __forceinline__ void add(float x) { RunningSum::add(x * x); }
  template <int N>
  __device__ __forceinline__ void add_all(const float (&x)[N]) {
    float squares[N];
#pragma unroll
    for (int k = 0; k < N; ++k) squares[k] = x[k] * x[k];
    RunningSum::add_all(squares);
  }
};

// A running maximum.
struct RunningMaximum {
  float value = -infinity();
  static __device__ __forceinline__ float identity() { return -infinity(); }
  __device__ __forceinline__ void add(float x) { value = larger(value, x); }
  template <int N>
  __device__ __forceinline__ void add_all(const float (&x)[N]) {
#pragma unroll
    for (int k = 0; k < N; ++k) add(x[k]);
  }
  __device__ __forceinline__ void join(float other) { add(other); }
  __device__ __forceinline__ float over_block() const { return fold_block(value, -infinity(), Larger()); }
  __device__ __forceinline__ float result() const { return value; }
};

// The entries of a part: a multiple of 16 but for the last, so that each begins where vectors may.
struct Part {
  long long first, end;
  __device__ __forceinline__ Part(const ReduceArgs& args, int part) {
    const long long run = ((args.length + args.parts - 1) / args.parts + 15) / 16 * 16;
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
    const long long width = part.end - part.first;
    long long done = 0;
    if (args.stride == 1 && is_aligned(x)) {
      // Vectors by fours, which are loaded before the first is used.
      constexpr int N = LANES<S>, AT_ONCE = 4;
      const long long run = static_cast<long long>(AT_ONCE) * N * blockDim.x;
      for (; done + run <= width; done += run) {
        uint4 words[AT_ONCE];
#pragma unroll
        for (int u = 0; u < AT_ONCE; ++u) words[u] = load_words(x + done + (static_cast<long long>(u) * blockDim.x + threadIdx.x) * N);
#pragma unroll
        for (int u = 0; u < AT_ONCE; ++u) {
          float values[N];
          expand(words[u], values);
          running.add_all(values);
        }
      }
    }
    if (args.stride == 1) {
      for_row(x + done, width - done, [&](long long, int count, const float(&values)[LANES<S>]) {
        if (count == 1) {
          running.add(values[0]);
        } else {
          running.add_all(values);
        }
      });
    } else {
      for (long long j = threadIdx.x; j < width; j += blockDim.x) running.add(load(x + j * args.stride));
    }
    const float result = running.over_block();
    if (threadIdx.x == 0) store(out + i, result);
  }
}

template <class S, class T>
__device__ __forceinline__ void reduce_rows(const ReduceArgs& args) {
  if (args.op == REDUCE_SUM) {
    reduce_rows_by<RunningSum, S, T>(args);
  } else if (args.op == REDUCE_SQUARES) {
    reduce_rows_by<RunningSquares, S, T>(args);
  } else {
    reduce_rows_by<RunningMaximum, S, T>(args);
  }
}
KERNEL(reduce_rows_f32_f32, ReduceArgs, ROW_THREADS) { reduce_rows<float, float>(args); }
KERNEL(reduce_rows_f32_bf16, ReduceArgs, ROW_THREADS) { reduce_rows<float, bf16>(args); }
KERNEL(reduce_rows_bf16_f32, ReduceArgs, ROW_THREADS) { reduce_rows<bf16, float>(args); }
KERNEL(reduce_rows_bf16_bf16, ReduceArgs, ROW_THREADS) { reduce_rows<bf16, bf16>(args); }

// Outputs that lie side by side, in the input too: a lane takes N of them, the block's warps take the entries of a part in turns, four at a time.
template <class Running, class S, class T>
__device__ __forceinline__ void reduce_columns_by(const ReduceArgs& args) {
  constexpr int N = LANES<S>, WARPS = POINTWISE_THREADS / WARP_SIZE, RUN = 4;
  SHARED(decltype(Running::value), partial, [WARPS][N][WARP_SIZE]);
  const Part part(args, blockIdx.y);
  const int lane = lane_of_thread(), warp = warp_of_thread();
  T* const out = static_cast<T*>(args.out) + blockIdx.y * args.space.elements;
  const S* const x = static_cast<const S*>(args.x.data);
  const bool side_by_side = access_of<S>(args.space, args.x) == Access::Vector && args.stride % N == 0;
  const long long vectors = side_by_side ? whole_vectors<S>(args.space) : 0, rest = args.space.elements - vectors * N;
  // The vectors, then what is left one by one.
  for (long long first = blockIdx.x * WARP_SIZE; first < vectors + rest; first += gridDim.x * WARP_SIZE) {
    const long long column = first + lane;
    const bool whole = column < vectors;
    const long long i = whole ? column * N : vectors * N + (column - vectors);
    const int count = column >= vectors + rest ? 0 : whole ? N : 1;
    Running running[N];
    if (count > 0) {
      const S* const from = x + offset_of(args.space, args.x, i);
      for (long long j = part.first + RUN * warp; j < part.end; j += RUN * WARPS) {
        float values[RUN][N];
#pragma unroll
        for (int r = 0; r < RUN; ++r) {
#pragma unroll
          for (int k = 0; k < N; ++k) values[r][k] = Running::identity();
          if (j + r >= part.end) continue;
          if (whole) {
            load_lanes(from + (j + r) * args.stride, values[r]);
          } else {
            values[r][0] = load(from + (j + r) * args.stride);
          }
        }
#pragma unroll
        for (int k = 0; k < N; ++k) {
          float column_values[RUN];
#pragma unroll
          for (int r = 0; r < RUN; ++r) column_values[r] = values[r][k];
          running[k].add_all(column_values);
        }
      }
    }
    __syncthreads(); // the previous columns' readers are done
#pragma unroll
    for (int k = 0; k < N; ++k) partial[warp][k][lane] = running[k].value;
    __syncthreads();
    if (warp < count) {
      Running total;
      for (int other = 0; other < WARPS; ++other) total.join(partial[other][warp][lane]);
      store(out + i + warp, total.result());
    }
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
