// Sums and maxima over the threads of a warp and of a block.
#pragma once

#include "functions.cuh"

struct Sum {
  template <class V>
  __device__ __forceinline__ V operator()(V a, V b) const {
    return a + b;
  }
};
struct Larger {
  __device__ __forceinline__ float operator()(float a, float b) const { return larger(a, b); }
};

__device__ __forceinline__ int lane_of_thread() { return threadIdx.x % WARP_SIZE; }
__device__ __forceinline__ int warp_of_thread() { return threadIdx.x / WARP_SIZE; }

// `op` over the warp, in every lane.
template <class V, class Op>
__device__ __forceinline__ V fold_warp(V value, Op op) {
#pragma unroll
  for (int distance = WARP_SIZE / 2; distance > 0; distance /= 2) value = op(value, __shfl_xor_sync(ALL_LANES, value, distance));
  return value;
}

// `op` over the block, in every thread, in the same order for all. The block is whole warps; `identity` stands for warps that there are not.
template <class V, class Op>
__device__ __forceinline__ V fold_block(V value, V identity, Op op) {
  SHARED(V, partial, [WARP_SIZE]);
  value = fold_warp(value, op);
  const int warps = blockDim.x / WARP_SIZE;
  if (warps == 1) return value;
  __syncthreads(); // the previous fold's readers are done
  if (lane_of_thread() == 0) partial[warp_of_thread()] = value;
  __syncthreads();
  return fold_warp(lane_of_thread() < warps ? partial[lane_of_thread()] : identity, op);
}

// The first row of this warp where warps take rows in turns, and the step to its next.
__device__ __forceinline__ long long warp_start() { return static_cast<long long>(blockIdx.x) * (blockDim.x / WARP_SIZE) + warp_of_thread(); }
__device__ __forceinline__ long long warp_stride() { return static_cast<long long>(gridDim.x) * (blockDim.x / WARP_SIZE); }

// The rows of this block's part of a group, counted from the group's first: a run for each block along the grid's y.
struct GroupPart {
  long long first, end;
  __device__ __forceinline__ explicit GroupPart(long long group) {
    const long long run = (group + gridDim.y - 1) / gridDim.y;
    first = blockIdx.y * run < group ? blockIdx.y * run : group;
    end = first + run < group ? first + run : group;
  }
};

// Σ of the lanes, in pairs.
template <int N>
__device__ __forceinline__ float sum_of(const float (&x)[N]) {
  float sum[N];
#pragma unroll
  for (int k = 0; k < N; ++k) sum[k] = x[k];
#pragma unroll
  for (int half = N / 2; half > 0; half /= 2) {
#pragma unroll
    for (int k = 0; k < half; ++k) sum[k] += sum[k + half];
  }
  return sum[0];
}

// The widest rows that go by warps, and those that have code of their own: a lane holds 40 numbers, or 16.
constexpr int MOST_COLUMNS = 1280, FEW_COLUMNS = 512;
template <class T, int COLUMNS>
constexpr int HELD = COLUMNS / (WARP_SIZE * LANES<T>);

// The vectors of a row that a warp can hold, and 0 of one that it cannot: a wider one, or one that is not whole vectors.
template <class T>
__device__ __forceinline__ int held_vectors(long long width) {
  return width % LANES<T> == 0 && width <= MOST_COLUMNS ? static_cast<int>(width / LANES<T>) : 0;
}

// A row in the registers of a warp, as it is in memory: a lane has the vectors lane, lane + 32 and so on, and zeros beyond the row's end.
template <class T, int H>
struct HeldRow {
  uint4 words[H];
  int vectors;
  __device__ __forceinline__ HeldRow(const T* row, int vectors) : vectors(vectors) {
#pragma unroll
    for (int h = 0; h < H; ++h) words[h] = number(h) < vectors ? load_words(row + number(h) * LANES<T>) : make_uint4(0, 0, 0, 0);
  }
  // The number of this lane's vector h in the row.
  static __device__ __forceinline__ int number(int h) { return lane_of_thread() + h * WARP_SIZE; }
  // Calls visit(h, values), `values` also those of vectors beyond the end.
  template <class Visit>
  __device__ __forceinline__ void each(Visit visit) const {
#pragma unroll
    for (int h = 0; h < H; ++h) {
      float values[LANES<T>];
      expand(words[h], values);
      visit(h, values);
    }
  }
  // Σ value(x) over the row, in every lane: at most 3 + 10 + 5 additions in f32 follow one another.
  template <class Value>
  __device__ __forceinline__ float sum(Value value) const {
    float total = 0.0f;
    each([&](int h, float(&x)[LANES<T>]) {
#pragma unroll
      for (int lane = 0; lane < LANES<T>; ++lane) x[lane] = value(x[lane]);
      const float part = sum_of(x);
      total += number(h) < vectors ? part : 0.0f;
    });
    return fold_warp(total, Sum());
  }
};

// Calls visit(start, count, values) for this thread's share of a contiguous row: LANES elements at once where the row is aligned, else one, with zeros after it.
template <class T, class Visit>
__device__ __forceinline__ void for_row(const T* row, long long width, Visit visit) {
  constexpr int N = LANES<T>;
  const long long vectors = is_aligned(row) ? width / N : 0;
  float x[N];
  for (long long v = threadIdx.x; v < vectors; v += blockDim.x) {
    load_lanes(row + v * N, x);
    visit(v * N, N, x);
  }
  for (long long i = vectors * N + threadIdx.x; i < width; i += blockDim.x) {
    x[0] = load(row + i);
#pragma unroll
    for (int lane = 1; lane < N; ++lane) x[lane] = 0.0f;
    visit(i, 1, x);
  }
}
