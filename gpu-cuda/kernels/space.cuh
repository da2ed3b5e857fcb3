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
    const Index rest = axis > 0 ? i / length : 0; // the outermost coordinate is what is left
    const long long coordinate = static_cast<long long>(i - rest * length);
#pragma unroll
    for (int k = 0; k < K; ++k) offset[k] += coordinate * views[k]->stride[axis];
    i = rest;
  }
}

// As `walk`, by 32-bit divisions where they do.
template <int K>
__device__ __forceinline__ void offsets(const Space& space, int rank, const View* const (&views)[K], long long i, long long (&offset)[K]) {
  // A length that 32 bits do not hold comes with more elements than they count.
  if (i <= 0x7fffffffll && space.elements <= 0xffffffffll) {
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

// An element's bits, and LANES elements `stride` apart as if they were neighbours.
__device__ __forceinline__ unsigned load_bits(const float* p) { return __float_as_uint(*p); }
__device__ __forceinline__ unsigned load_bits(const bf16* p) { return p->bits; }
__device__ __forceinline__ uint4 gather_words(const float* p, long long stride) {
  return make_uint4(load_bits(p), load_bits(p + stride), load_bits(p + 2 * stride), load_bits(p + 3 * stride));
}
__device__ __forceinline__ uint4 gather_words(const bf16* p, long long stride) {
  const auto pair = [&](int k) { return load_bits(p + 2 * k * stride) | load_bits(p + (2 * k + 1) * stride) << 16; };
  return make_uint4(pair(0), pair(1), pair(2), pair(3));
}

// LANES elements along the innermost axis, of which the first lies at `p`, in two steps: `fetch` only loads where access is not Strided, so that
// the loads of several operands are under way at once, and `spread` repeats the one element of a stretched operand.
template <class T>
__device__ __forceinline__ uint4 fetch_even(const T* p, Access access) {
  uint4 words = make_uint4(0, 0, 0, 0);
  if (access == Access::Vector) {
    words = load_words(p);
  } else if (access == Access::Stretched) {
    words.x = load_bits(p);
  }
  return words;
}
template <class T>
__device__ __forceinline__ uint4 fetch(const T* p, Access access, long long stride) {
  return access == Access::Strided ? gather_words(p, stride) : fetch_even(p, access);
}
template <class T>
__device__ __forceinline__ uint4 spread(const uint4& words, Access access) {
  const unsigned first = sizeof(T) == 4 ? words.x : words.x | words.x << 16;
  return access == Access::Stretched ? make_uint4(first, first, first, first) : words;
}

// How many of the elements a pointwise kernel takes by vectors: all whole ones, if vectors do not reach over the end of the innermost axis.
template <class T>
__device__ __forceinline__ long long whole_vectors(const Space& space) {
  if (space.rank >= 2 && space.length[space.rank - 1] % LANES<T> != 0) return 0;
  return space.elements / LANES<T>;
}

// `op` on each of N lanes.
template <int N, int K, int M, class Op>
__device__ __forceinline__ void apply(const float (&x)[K][N], float (&y)[M][N], Op op) {
#pragma unroll
  for (int lane = 0; lane < N; ++lane) {
    float in[K], result[M];
#pragma unroll
    for (int k = 0; k < K; ++k) in[k] = x[k][lane];
    op(in, result);
#pragma unroll
    for (int m = 0; m < M; ++m) y[m][lane] = result[m];
  }
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
  // So many vectors of each operand are loaded before the first is used.
  constexpr int AT_ONCE = K <= 3 ? 2 : 1;
  for (long long first = grid_start(); first < vectors; first += AT_ONCE * grid_stride()) {
    uint4 words[AT_ONCE][K];
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const long long v = first + u * grid_stride();
      if (v >= vectors) continue;
      long long offset[K];
      if (last <= 0) {
#pragma unroll
        for (int k = 0; k < K; ++k) offset[k] = v * N * stride[k];
      } else {
        offsets(space, space.rank, views, v * N, offset);
      }
#pragma unroll
      for (int k = 0; k < K; ++k) words[u][k] = fetch(static_cast<const T*>(views[k]->data) + offset[k], access[k], stride[k]);
    }
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const long long v = first + u * grid_stride();
      if (v >= vectors) continue;
      float x[K][N], y[M][N];
#pragma unroll
      for (int k = 0; k < K; ++k) expand(spread<T>(words[u][k], access[k]), x[k]);
      apply<N>(x, y, op);
#pragma unroll
      for (int m = 0; m < M; ++m) store_lanes(out[m] + v * N, y[m]);
    }
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
  constexpr int AT_ONCE = 2;
  for (long long first = grid_start(); first < vectors; first += AT_ONCE * grid_stride()) {
    uint4 words[AT_ONCE][K];
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const long long v = first + u * grid_stride();
#pragma unroll
      for (int k = 0; k < K; ++k) words[u][k] = v < vectors ? load_words(in[k] + v * N) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const long long v = first + u * grid_stride();
      if (v >= vectors) continue;
      float x[K][N], y[M][N];
#pragma unroll
      for (int k = 0; k < K; ++k) expand(words[u][k], x[k]);
      apply<N>(x, y, op);
#pragma unroll
      for (int m = 0; m < M; ++m) store_lanes(out[m] + v * N, y[m]);
    }
  }
  for (long long i = vectors * N + grid_start(); i < elements; i += grid_stride()) {
    float from[K], result[M];
#pragma unroll
    for (int k = 0; k < K; ++k) from[k] = load(in[k] + i);
    op(from, result);
#pragma unroll
    for (int m = 0; m < M; ++m) store(out[m] + i, result[m]);
  }
}
