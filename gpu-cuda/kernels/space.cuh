// From the number of an element in a space to its places in operands.
#pragma once

#include "storage.cuh"

// The offsets of element i in K operands, in one walk over the axes up to `rank`.
template <class Index, int K>
__device__ __forceinline__ void walk(const Space& space, int rank, const View* const (&views)[K], Index i, long long (&offset)[K]) {
#pragma unroll
  for (int k = 0; k < K; ++k) offset[k] = 0;
#pragma unroll 1 // the arguments can be indexed; six divisions in a row would only be long
  for (int axis = rank - 1; axis >= 0; --axis) {
    const Index length = static_cast<Index>(space.length[axis]);
    const Index rest = i / length;
    const long long coordinate = static_cast<long long>(i - rest * length);
#pragma unroll
    for (int k = 0; k < K; ++k) offset[k] += coordinate * views[k]->stride[axis];
    i = rest;
  }
}

// As `walk`, by 32-bit divisions where they do.
template <int K>
__device__ __forceinline__ void offsets(const Space& space, int rank, const View* const (&views)[K], long long i, long long (&offset)[K]) {
  if (i <= 0x7fffffffll) {
    walk<unsigned>(space, rank, views, static_cast<unsigned>(i), offset);
  } else {
    walk<unsigned long long>(space, rank, views, static_cast<unsigned long long>(i), offset);
  }
}

__device__ __forceinline__ long long offset_of(const Space& space, const View& view, long long i) {
  const View* const views[1] = {&view};
  long long offset[1];
  offsets(space, space.rank, views, i, offset);
  return offset[0];
}

// How the elements along the innermost axis are fetched.
enum class Access { Missing, Stretched, Vector, Strided };

// Vectors need unit stride, and every vector's start a multiple of 16 bytes.
template <class T>
__device__ __forceinline__ Access access_of(const Space& space, const View& view) {
  if (view.data == nullptr) return Access::Missing;
  if (space.rank == 0 || view.stride[space.rank - 1] == 0) return Access::Stretched;
  if (view.stride[space.rank - 1] != 1 || !is_aligned(view.data)) return Access::Strided;
  bool aligned = true;
#pragma unroll 1
  for (int axis = 0; axis < space.rank - 1; ++axis) aligned = aligned && view.stride[axis] % LANES<T> == 0;
  return aligned ? Access::Vector : Access::Strided;
}

// LANES elements along the innermost axis, of which the first lies at `p`.
template <class T>
__device__ __forceinline__ void load_along(const T* p, Access access, long long stride, float (&out)[LANES<T>]) {
  if (access == Access::Vector) {
    load_lanes(p, out);
  } else if (access == Access::Strided) {
#pragma unroll
    for (int lane = 0; lane < LANES<T>; ++lane) out[lane] = load(p + lane * stride);
  } else {
    const float value = access == Access::Stretched ? load(p) : 0.0f;
#pragma unroll
    for (int lane = 0; lane < LANES<T>; ++lane) out[lane] = value;
  }
}

// How many of the elements a pointwise kernel takes by vectors: all whole ones, if vectors do not reach over the end of the innermost axis.
template <class T>
__device__ __forceinline__ long long whole_vectors(const Space& space) {
  if (space.rank >= 2 && space.length[space.rank - 1] % LANES<T> != 0) return 0;
  return space.elements / LANES<T>;
}

// out[m][i] = op(views[k][i])[m] for every element i: `op` takes K numbers to M. A missing operand is zero.
template <class T, int K, int M, class Op>
__device__ __forceinline__ void pointwise(const Space& space, const View* const (&views)[K], T* const (&out)[M], Op op) {
  constexpr int N = LANES<T>;
  const int last = space.rank - 1;
  Access access[K];
  long long stride[K];
#pragma unroll
  for (int k = 0; k < K; ++k) {
    access[k] = access_of<T>(space, *views[k]);
    stride[k] = last >= 0 ? views[k]->stride[last] : 0;
  }
  bool aligned = true;
#pragma unroll
  for (int m = 0; m < M; ++m) aligned = aligned && is_aligned(out[m]);
  const long long vectors = aligned ? whole_vectors<T>(space) : 0;
  for (long long v = grid_start(); v < vectors; v += grid_stride()) {
    const long long i = v * N;
    long long offset[K];
    if (last <= 0) {
#pragma unroll
      for (int k = 0; k < K; ++k) offset[k] = i * stride[k];
    } else {
      offsets(space, space.rank, views, i, offset);
    }
    float x[K][N], y[M][N];
#pragma unroll
    for (int k = 0; k < K; ++k) load_along(static_cast<const T*>(views[k]->data) + offset[k], access[k], stride[k], x[k]);
#pragma unroll
    for (int lane = 0; lane < N; ++lane) {
      float in[K], result[M];
#pragma unroll
      for (int k = 0; k < K; ++k) in[k] = x[k][lane];
      op(in, result);
#pragma unroll
      for (int m = 0; m < M; ++m) y[m][lane] = result[m];
    }
#pragma unroll
    for (int m = 0; m < M; ++m) store_lanes(out[m] + i, y[m]);
  }
  for (long long i = vectors * N + grid_start(); i < space.elements; i += grid_stride()) {
    long long offset[K];
    offsets(space, space.rank, views, i, offset);
    float in[K], result[M];
#pragma unroll
    for (int k = 0; k < K; ++k) in[k] = access[k] == Access::Missing ? 0.0f : load(static_cast<const T*>(views[k]->data) + offset[k]);
    op(in, result);
#pragma unroll
    for (int m = 0; m < M; ++m) store(out[m] + i, result[m]);
  }
}

// As `pointwise`, of contiguous operands.
template <class T, int K, int M, class Op>
__device__ __forceinline__ void pointwise_contiguous(long long elements, const T* const (&in)[K], T* const (&out)[M], Op op) {
  constexpr int N = LANES<T>;
  bool aligned = true;
#pragma unroll
  for (int k = 0; k < K; ++k) aligned = aligned && is_aligned(in[k]);
#pragma unroll
  for (int m = 0; m < M; ++m) aligned = aligned && is_aligned(out[m]);
  const long long vectors = aligned ? elements / N : 0;
  // The vectors, then what is left one by one.
  for (long long part = grid_start(); part < vectors + (elements - vectors * N); part += grid_stride()) {
    const int count = part < vectors ? N : 1;
    const long long i = part < vectors ? part * N : vectors * N + (part - vectors);
    float x[K][N], y[M][N];
#pragma unroll
    for (int k = 0; k < K; ++k) load_part(in[k] + i, count, x[k]);
#pragma unroll
    for (int lane = 0; lane < N; ++lane) {
      float from[K], result[M];
#pragma unroll
      for (int k = 0; k < K; ++k) from[k] = x[k][lane];
      op(from, result);
#pragma unroll
      for (int m = 0; m < M; ++m) y[m][lane] = result[m];
    }
#pragma unroll
    for (int m = 0; m < M; ++m) store_part(out[m] + i, count, y[m]);
  }
}
