// Copies between any two layouts and between types, and constants.
#include "space.cuh"

// Σ coordinate · stride of element i over all axes but `without`, which has been taken out of the count.
struct Plane {
  const Space& space;
  int without;
  __device__ __forceinline__ void offsets(long long i, const View& from, const View& to, long long& source, long long& target) const {
    source = target = 0;
#pragma unroll 1
    for (int axis = space.rank - 2; axis >= 0; --axis) {
      if (axis == without) continue;
      const long long length = space.length[axis], rest = i / length, coordinate = i - rest * length;
      source += coordinate * from.stride[axis];
      target += coordinate * to.stride[axis];
      i = rest;
    }
  }
};

constexpr int TILE = 32;

// The axis along which `from` is contiguous while `to` is along the last, if a transposition by tiles pays; −1 otherwise.
__device__ __forceinline__ int transposed_axis(const CopyArgs& args) {
  const int last = args.space.rank - 1;
  if (last < 1 || args.to.stride[last] != 1 || args.from.stride[last] <= 1 || args.space.length[last] < TILE / 2) return -1;
#pragma unroll 1
  for (int axis = 0; axis < last; ++axis) {
    if (args.from.stride[axis] == 1 && args.space.length[axis] >= TILE / 2) return axis;
  }
  return -1;
}

// Tiles of 32 × 32 through shared memory, so that both sides are contiguous.
template <class T>
__device__ __forceinline__ void copy_transposed(const CopyArgs& args, int axis) {
  SHARED(T, tile, [TILE][TILE + 1]);
  const int last = args.space.rank - 1;
  const long long rows = args.space.length[axis], columns = args.space.length[last];
  const long long down = (rows + TILE - 1) / TILE, across = (columns + TILE - 1) / TILE;
  const long long tiles = args.space.elements / (rows * columns) * down * across;
  const int x = threadIdx.x % TILE, y = threadIdx.x / TILE, step = blockDim.x / TILE;
  for (long long t = blockIdx.x; t < tiles; t += gridDim.x) {
    long long source, target;
    Plane{args.space, axis}.offsets(t / (down * across), args.from, args.to, source, target);
    const long long row = t / across % down * TILE, column = t % across * TILE;
    const T* const from = static_cast<const T*>(args.from.data) + source;
    T* const to = static_cast<T*>(const_cast<void*>(args.to.data)) + target;
    for (int k = y; k < TILE; k += step) {
      if (row + x < rows && column + k < columns) tile[k][x] = from[row + x + (column + k) * args.from.stride[last]];
    }
    __syncthreads();
    for (int k = y; k < TILE; k += step) {
      if (row + k < rows && column + x < columns) to[(row + k) * args.to.stride[axis] + column + x] = tile[x][k];
    }
    __syncthreads();
  }
}

template <class T>
__device__ __forceinline__ void copy(const CopyArgs& args) {
  constexpr int N = LANES<T>;
  const int axis = transposed_axis(args);
  if (axis >= 0) return copy_transposed<T>(args, axis);
  const Access from_access = access_of<T>(args.space, args.from), to_access = access_of<T>(args.space, args.to);
  const T* const from = static_cast<const T*>(args.from.data);
  T* const to = static_cast<T*>(const_cast<void*>(args.to.data));
  const View* const views[2] = {&args.from, &args.to};
  const long long stride = args.space.rank > 0 ? args.from.stride[args.space.rank - 1] : 0;
  const long long vectors = to_access == Access::Vector ? whole_vectors<T>(args.space) : 0;
  constexpr int AT_ONCE = 4; // vectors that are loaded before the first is stored
  for (long long first = grid_start(); first < vectors; first += AT_ONCE * grid_stride()) {
    uint4 words[AT_ONCE];
    long long target[AT_ONCE];
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      const long long v = first + u * grid_stride();
      if (v >= vectors) continue;
      long long offset[2];
      offsets(args.space, args.space.rank, views, v * N, offset);
      words[u] = fetch(from + offset[0], from_access, stride);
      target[u] = offset[1];
    }
#pragma unroll
    for (int u = 0; u < AT_ONCE; ++u) {
      if (first + u * grid_stride() < vectors) *reinterpret_cast<uint4*>(to + target[u]) = spread<T>(words[u], from_access);
    }
  }
  long long offset[2];
  for (long long i = vectors * N + grid_start(); i < args.space.elements; i += grid_stride()) {
    offsets(args.space, args.space.rank, views, i, offset);
    to[offset[1]] = from[offset[0]];
  }
}
KERNEL_OF_BOTH(copy, CopyArgs, POINTWISE_THREADS)

// Eight elements at a time: a vector of bf16, two of f32.
__device__ __forceinline__ void convert_eight(const bf16* from, float* to) {
  float x[8];
  load_lanes(from, x);
  store_lanes(to, {x[0], x[1], x[2], x[3]}), store_lanes(to + 4, {x[4], x[5], x[6], x[7]});
}
__device__ __forceinline__ void convert_eight(const float* from, bf16* to) {
  const uint4 words[2] = {load_words(from), load_words(from + 4)};
  float x[4], y[4];
  expand(words[0], x), expand(words[1], y);
  store_lanes(to, {x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]});
}

template <class From, class To>
__device__ __forceinline__ void convert(const ConvertArgs& args) {
  const From* const from = static_cast<const From*>(args.from);
  To* const to = static_cast<To*>(args.to);
  const long long vectors = is_aligned(from) && is_aligned(to) ? args.elements / 8 : 0;
  for (long long v = grid_start(); v < vectors; v += grid_stride()) convert_eight(from + v * 8, to + v * 8);
  for (long long i = vectors * 8 + grid_start(); i < args.elements; i += grid_stride()) store(to + i, load(from + i));
}
KERNEL(convert_bf16_f32, ConvertArgs, POINTWISE_THREADS) { convert<bf16, float>(args); }
KERNEL(convert_f32_bf16, ConvertArgs, POINTWISE_THREADS) { convert<float, bf16>(args); }

template <class T>
__device__ __forceinline__ void fill(const FillArgs& args) {
  T* const out = static_cast<T*>(args.out);
  for (long long i = grid_start(); i < args.elements; i += grid_stride()) store(out + i, args.value);
}
KERNEL_OF_BOTH(fill, FillArgs, POINTWISE_THREADS)
