// Matrix products of any strides in tiles of 64 × 64, and what follows a product of a linear layer. f32 by multiply-adds, bf16 by the tensor cores.
#include "functions.cuh"
#include "space.cuh"

constexpr int GEMM_TILE = 64;
constexpr int GEMM_THREADS = 256;

// An operand of a product: rows (i of a, j of b) by the inner axis k.
template <class T>
struct Operand {
  const T* data;
  long long rows, row_stride, inner_stride;
};

// The share of a thread in a tile of GEMM_TILE rows and DEPTH of the inner axis: EACH neighbours along the inner axis.
template <class T, int DEPTH>
struct Share {
  static constexpr int EACH = GEMM_TILE * DEPTH / GEMM_THREADS;
  int row, inner;

  // Neighbouring threads go along the axis that is contiguous in memory.
  __device__ __forceinline__ explicit Share(bool inner_first) {
    const int t = threadIdx.x, across = DEPTH / EACH;
    row = inner_first ? t / across : t % GEMM_TILE;
    inner = (inner_first ? t % across : t / GEMM_TILE) * EACH;
  }

  // Zeros beyond the operand.
  __device__ __forceinline__ void fetch(const Operand<T>& operand, long long first_row, long long first_inner, long long depth, T (&out)[EACH]) const {
    const long long k = first_inner + inner;
    const T* const from = operand.data + (first_row + row) * operand.row_stride + k * operand.inner_stride;
    const bool inside = first_row + row < operand.rows;
    if (inside && k + EACH <= depth && operand.inner_stride == 1 && is_aligned(from)) {
      *reinterpret_cast<uint4*>(out) = *reinterpret_cast<const uint4*>(from);
      return;
    }
#pragma unroll
    for (int e = 0; e < EACH; ++e) out[e] = inside && k + e < depth ? from[e * operand.inner_stride] : T{};
  }
};

// The operands of batch entry `entry`.
template <class T>
struct Operands {
  Operand<T> a, b;
  __device__ __forceinline__ Operands(const GemmArgs& args, long long entry) {
    const View* const views[2] = {&args.a, &args.b};
    long long offset[2];
    offsets(args.batch, args.batch.rank, views, entry, offset);
    a = {static_cast<const T*>(args.a.data) + offset[0], args.m, args.a_row, args.a_column};
    b = {static_cast<const T*>(args.b.data) + offset[1], args.n, args.b_column, args.b_row};
  }
};

// Calls product(operands, first row, first column, where the result of this batch entry begins) for each tile of this block.
template <class T, class Product>
__device__ __forceinline__ void for_tiles(const GemmArgs& args, Product product) {
  const long long tiles_down = (args.m + GEMM_TILE - 1) / GEMM_TILE;
  for (long long entry = blockIdx.z; entry < args.batch.elements; entry += gridDim.z) {
    const Operands<T> operands(args, entry);
    for (long long tile = blockIdx.y; tile < tiles_down; tile += gridDim.y) {
      product(operands, tile * GEMM_TILE, static_cast<long long>(blockIdx.x) * GEMM_TILE, static_cast<T*>(args.out) + entry * args.m * args.n);
    }
  }
}

// A thread makes 4 × 4 results.
KERNEL(gemm_f32, GemmArgs, GEMM_THREADS) {
  constexpr int DEPTH = 16, EACH = 4, PITCH = GEMM_TILE + 4;
  constexpr int PART = 256; // terms that are added in sequence; longer sums are sums of such parts, so that the error does not grow with their length
  SHARED(float, a_tile, [DEPTH][PITCH]);
  SHARED(float, b_tile, [DEPTH][PITCH]);
  const Share<float, DEPTH> a_share(args.a_column == 1), b_share(args.b_row == 1);
  const int down = threadIdx.x / 16 * 4, across = threadIdx.x % 16 * 4;
  for_tiles<float>(args, [&](const Operands<float>& operands, long long row, long long column, float* out) {
    float total[4][4] = {}, sum[4][4] = {};
    alignas(16) float a_next[EACH], b_next[EACH];
    a_share.fetch(operands.a, row, 0, args.k, a_next);
    b_share.fetch(operands.b, column, 0, args.k, b_next);
    for (long long k = 0; k < args.k; k += DEPTH) {
      __syncthreads(); // the tiles are no longer read
#pragma unroll
      for (int e = 0; e < EACH; ++e) {
        a_tile[a_share.inner + e][a_share.row] = a_next[e];
        b_tile[b_share.inner + e][b_share.row] = b_next[e];
      }
      __syncthreads();
      a_share.fetch(operands.a, row, k + DEPTH, args.k, a_next); // under way while this tile is multiplied
      b_share.fetch(operands.b, column, k + DEPTH, args.k, b_next);
#pragma unroll
      for (int d = 0; d < DEPTH; ++d) {
        float a[4], b[4];
        load_lanes(&a_tile[d][down], a);
        load_lanes(&b_tile[d][across], b);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
        }
      }
      if (k % PART != PART - DEPTH && k + DEPTH < args.k) continue;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) total[i][j] += sum[i][j], sum[i][j] = 0.0f;
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const long long left = args.n - (column + across);
      if (row + down + i < args.m && left > 0) store_part(out + (row + down + i) * args.n + column + across, left < 4 ? static_cast<int>(left) : 4, total[i]);
    }
  });
}

// A warp makes 16 × 32 results.
KERNEL(gemm_bf16, GemmArgs, GEMM_THREADS) {
  constexpr int DEPTH = 32, EACH = 8, PITCH = DEPTH + 8; // rows of 80 bytes: eight of them in different banks
  SHARED(bf16, a_tile, [GEMM_TILE][PITCH]);
  SHARED(bf16, b_tile, [GEMM_TILE][PITCH]);
  const Share<bf16, DEPTH> a_share(args.a_column == 1), b_share(args.b_row == 1);
  const int lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, matrix = lane / 8, line = lane % 8;
  const int down = warp / 2 * 16, across = warp % 2 * 32;
  for_tiles<bf16>(args, [&](const Operands<bf16>& operands, long long row, long long column, bf16* out) {
    float sum[4][4] = {};
    alignas(16) bf16 a_next[EACH], b_next[EACH];
    a_share.fetch(operands.a, row, 0, args.k, a_next);
    b_share.fetch(operands.b, column, 0, args.k, b_next);
    for (long long k = 0; k < args.k; k += DEPTH) {
      __syncthreads(); // the tiles are no longer read
      *reinterpret_cast<uint4*>(&a_tile[a_share.row][a_share.inner]) = *reinterpret_cast<const uint4*>(a_next);
      *reinterpret_cast<uint4*>(&b_tile[b_share.row][b_share.inner]) = *reinterpret_cast<const uint4*>(b_next);
      __syncthreads();
      a_share.fetch(operands.a, row, k + DEPTH, args.k, a_next); // under way while this tile is multiplied
      b_share.fetch(operands.b, column, k + DEPTH, args.k, b_next);
#pragma unroll
      for (int d = 0; d < DEPTH; d += 16) {
        unsigned a[4];
        load_matrices<false>(a, &a_tile[down + matrix % 2 * 8 + line][d + matrix / 2 * 8]);
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
          unsigned b[4];
          load_matrices<false>(b, &b_tile[across + pair * 16 + matrix / 2 * 8 + line][d + matrix % 2 * 8]);
          const unsigned left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
          mma_bf16(sum[2 * pair], a, left, sum[2 * pair]);
          mma_bf16(sum[2 * pair + 1], a, right, sum[2 * pair + 1]);
        }
      }
    }
#pragma unroll
    for (int tile = 0; tile < 4; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const long long i = row + down + lane / 4 + 8 * half, j = column + across + 8 * tile + lane % 4 * 2;
        if (i >= args.m) continue;
        if (j + 1 < args.n) {
          store_pair(out + i * args.n + j, {sum[tile][2 * half], sum[tile][2 * half + 1]});
        } else if (j < args.n) {
          store(out + i * args.n + j, sum[tile][2 * half]);
        }
      }
    }
  });
}

template <class T>
__device__ __forceinline__ void epilogue(const EpilogueArgs& args) {
  constexpr int N = LANES<T>;
  const T* const product = static_cast<const T*>(args.product);
  const T* const bias = static_cast<const T*>(args.bias);
  T* const pre = static_cast<T*>(args.pre);
  T* const out = static_cast<T*>(args.out);
  const long long elements = args.rows * args.columns;
  const bool whole = args.columns % N == 0 && is_aligned(product) && is_aligned(bias) && is_aligned(pre) && is_aligned(out);
  const int count = whole ? N : 1;
  for (long long part = grid_start(); part < elements / count; part += grid_stride()) {
    const long long i = part * count;
    float z[N], b[N];
    load_part(product + i, count, z);
    if (bias != nullptr) {
      load_part(bias + i % args.columns, count, b);
#pragma unroll
      for (int lane = 0; lane < N; ++lane) z[lane] += b[lane];
    }
    if (pre != nullptr) store_part(pre + i, count, z);
#pragma unroll
    for (int lane = 0; lane < N; ++lane) z[lane] = activation(args.op, z[lane]);
    store_part(out + i, count, z);
  }
}
KERNEL_OF_BOTH(epilogue, EpilogueArgs, POINTWISE_THREADS)
