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

// Calls each(element's number, its value) for this thread's share of a contiguous row, 16 bytes at a time where the row is aligned.
// `visit(start, count, values)` gets up to LANES elements at once.
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
