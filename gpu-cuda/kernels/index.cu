// Entries taken by index, and added back by index.
#include "space.cuh"

// Where element i lies but for its coordinate along `axis`, which is given apart.
__device__ __forceinline__ long long place_without(const Space& space, const View& x, int axis, long long i, long long& coordinate) {
  long long offset = 0;
  coordinate = 0;
#pragma unroll 1
  for (int k = space.rank - 1; k >= 0; --k) {
    const long long length = space.length[k], rest = i / length, here = i - rest * length;
    if (k == axis) {
      coordinate = here;
    } else {
      offset += here * x.stride[k];
    }
    i = rest;
  }
  return offset;
}

// Whether vectors along the innermost axis serve: it is not the indexed one.
template <class T>
__device__ __forceinline__ long long indexed_vectors(const Space& space, const View& x, int axis, const void* out) {
  const bool inner = space.rank < 2 || axis == space.rank - 1 || access_of<T>(space, x) != Access::Vector || !is_aligned(out);
  return inner ? 0 : whole_vectors<T>(space);
}

template <class T>
__device__ __forceinline__ void gather(const GatherArgs& args) {
  constexpr int N = LANES<T>;
  const T* const x = static_cast<const T*>(args.x.data);
  T* const out = static_cast<T*>(args.out);
  const long long stride = args.x.stride[args.axis];
  const long long vectors = indexed_vectors<T>(args.space, args.x, args.axis, out);
  long long coordinate;
  for (long long v = grid_start(); v < vectors; v += grid_stride()) {
    const long long offset = place_without(args.space, args.x, args.axis, v * N, coordinate);
    *reinterpret_cast<uint4*>(out + v * N) = *reinterpret_cast<const uint4*>(x + offset + args.index[coordinate] * stride);
  }
  for (long long i = vectors * N + grid_start(); i < args.space.elements; i += grid_stride()) {
    const long long offset = place_without(args.space, args.x, args.axis, i, coordinate);
    out[i] = x[offset + args.index[coordinate] * stride];
  }
}
KERNEL_OF_BOTH(gather, GatherArgs, POINTWISE_THREADS)

// Each output sums its own entries in the order given: no two threads meet, and the sum is the same each time.
template <class T>
__device__ __forceinline__ void scatter_add(const ScatterAddArgs& args) {
  constexpr int N = LANES<T>;
  const T* const x = static_cast<const T*>(args.x.data);
  T* const out = static_cast<T*>(args.out);
  const long long stride = args.x.stride[args.axis];
  const long long vectors = indexed_vectors<T>(args.space, args.x, args.axis, out);
  long long coordinate;
  for (long long v = grid_start(); v < vectors; v += grid_stride()) {
    const long long offset = place_without(args.space, args.x, args.axis, v * N, coordinate);
    double sum[N];
    float result[N];
#pragma unroll
    for (int lane = 0; lane < N; ++lane) sum[lane] = 0.0;
    for (long long p = args.start[coordinate]; p < args.start[coordinate + 1]; ++p) {
      load_lanes(x + offset + args.order[p] * stride, result);
#pragma unroll
      for (int lane = 0; lane < N; ++lane) sum[lane] += static_cast<double>(result[lane]);
    }
#pragma unroll
    for (int lane = 0; lane < N; ++lane) result[lane] = static_cast<float>(sum[lane]);
    store_lanes(out + v * N, result);
  }
  for (long long i = vectors * N + grid_start(); i < args.space.elements; i += grid_stride()) {
    const long long offset = place_without(args.space, args.x, args.axis, i, coordinate);
    double sum = 0.0;
    for (long long p = args.start[coordinate]; p < args.start[coordinate + 1]; ++p) sum += static_cast<double>(load(x + offset + args.order[p] * stride));
    store(out + i, static_cast<float>(sum));
  }
}
KERNEL_OF_BOTH(scatter_add, ScatterAddArgs, POINTWISE_THREADS)
