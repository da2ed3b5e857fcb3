// The pullback of attention, which makes the weights again from their logarithmic sum: no matrix of them is kept. Two kernels without atomics, so that
// results are the same each time; the order of the products: Dao (2023).
#include "attention.cuh"

// How many keys (of the query's kernel) or queries (of the key's) a tile holds, in eights.
constexpr int QUERY_TILES = 4;
template <int C>
constexpr int KEY_TILES = C > 96 ? 2 : 4;

template <class T>
__device__ __forceinline__ void attention_delta(const AttentionArgs& args) {
  const long long rows = args.batch.elements * args.queries;
  for (long long r = grid_start() / WARP_SIZE; r < rows; r += grid_stride() / WARP_SIZE) {
    const T* const g = static_cast<const T*>(args.g) + r * args.width;
    const T* const out = static_cast<const T*>(args.out) + r * args.width;
    float sum = 0.0f;
    for (int c = threadIdx.x % WARP_SIZE; c < args.width; c += WARP_SIZE) sum = fmaf(load(g + c), load(out + c), sum);
    sum = fold_warp(sum, Sum());
    if (threadIdx.x % WARP_SIZE == 0) args.delta[r] = sum;
  }
}
KERNEL_OF_BOTH(attention_delta, AttentionArgs, POINTWISE_THREADS)

// gq = scale Σ_k w (g·v − delta) k.
template <class T, int C>
__device__ __forceinline__ void attention_vjp_query(const AttentionArgs& args) {
  constexpr int TILES = QUERY_TILES, KEYS = 8 * TILES;
  SHARED(T, k_tile, [KEYS][PITCH<T, C>]);
  SHARED(T, v_tile, [KEYS][PITCH<T, C>]);
  ATTENTION_EXCHANGE(T, TILES);
  const float scale = root_share(args.width);
  const int queries = static_cast<int>(args.queries), keys = static_cast<int>(args.keys);
  for (long long entry = blockIdx.y; entry < args.batch.elements; entry += gridDim.y) {
    const long long result = entry * args.queries * args.width;
    const RowsOf<T> q(args.batch, args.q, entry, queries, args.width), k(args.batch, args.k, entry, keys, args.width),
        v(args.batch, args.v, entry, keys, args.width), g(static_cast<const T*>(args.g) + result, args.width, queries, args.width);
    const Left<T, C> left(q, warp_rows()), right(g, warp_rows());
    float logsum[2], delta[2];
    load_of_rows(args.logsum + entry * args.queries, warp_rows(), queries, logsum);
    load_of_rows(args.delta + entry * args.queries, warp_rows(), queries, delta);
    float sum[C / 8][4] = {};
    for (int first = 0; first < keys; first += KEYS) {
      __syncthreads(); // the tiles are no longer read
      load_tile<C>(k_tile, k, first);
      load_tile<C>(v_tile, v, first);
      __syncthreads();
      float weights[TILES][4] = {}, slopes[TILES][4] = {};
      add_scores<C>(weights, left, k_tile);
      add_scores<C>(slopes, right, v_tile);
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float weight = expf(scale * weights[j][e] - logsum[e / 2]);
          slopes[j][e] = first + column_of(j, e) < keys ? weight * (slopes[j][e] - delta[e / 2]) : 0.0f;
        }
      }
      add_weighted<C>(sum, slopes, k_tile, exchange);
    }
    const float factor[2] = {scale, scale};
    store_rows(static_cast<T*>(args.gq) + result, warp_rows(), queries, args.width, sum, factor);
  }
}

// gv = Σ_q w g and gk = scale Σ_q w (g·v − delta) q. The rows are keys, the columns queries.
template <class T, int C>
__device__ __forceinline__ void attention_vjp_key(const AttentionArgs& args) {
  constexpr int TILES = KEY_TILES<C>, QUERIES = 8 * TILES;
  SHARED(T, q_tile, [QUERIES][PITCH<T, C>]);
  SHARED(T, g_tile, [QUERIES][PITCH<T, C>]);
  SHARED(float, logsum, [QUERIES]);
  SHARED(float, delta, [QUERIES]);
  ATTENTION_EXCHANGE(T, TILES);
  const float scale = root_share(args.width);
  const int queries = static_cast<int>(args.queries), keys = static_cast<int>(args.keys);
  for (long long entry = blockIdx.y; entry < args.batch.elements; entry += gridDim.y) {
    const RowsOf<T> q(args.batch, args.q, entry, queries, args.width), k(args.batch, args.k, entry, keys, args.width),
        v(args.batch, args.v, entry, keys, args.width),
        g(static_cast<const T*>(args.g) + entry * args.queries * args.width, args.width, queries, args.width);
    const Left<T, C> left(k, warp_rows()), right(v, warp_rows());
    float k_sum[C / 8][4] = {}, v_sum[C / 8][4] = {};
    for (int first = 0; first < queries; first += QUERIES) {
      __syncthreads(); // the tiles are no longer read
      load_tile<C>(q_tile, q, first);
      load_tile<C>(g_tile, g, first);
      if (threadIdx.x < QUERIES) {
        const int i = first + static_cast<int>(threadIdx.x);
        logsum[threadIdx.x] = i < queries ? args.logsum[entry * args.queries + i] : 0.0f;
        delta[threadIdx.x] = i < queries ? args.delta[entry * args.queries + i] : 0.0f;
      }
      __syncthreads();
      float weights[TILES][4] = {}, slopes[TILES][4] = {};
      add_scores<C>(weights, left, q_tile);
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int column = column_of(j, e);
          weights[j][e] = first + column < queries ? expf(scale * weights[j][e] - logsum[column]) : 0.0f;
        }
      }
      if (args.gv != nullptr) add_weighted<C>(v_sum, weights, g_tile, exchange);
      if (args.gk != nullptr) {
        add_scores<C>(slopes, right, g_tile);
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const int column = column_of(j, e);
            slopes[j][e] = first + column < queries ? weights[j][e] * (slopes[j][e] - delta[column]) : 0.0f;
          }
        }
        add_weighted<C>(k_sum, slopes, q_tile, exchange);
      }
    }
    const float one[2] = {1.0f, 1.0f}, factor[2] = {scale, scale};
    const long long result = entry * args.keys * args.width;
    if (args.gv != nullptr) store_rows(static_cast<T*>(args.gv) + result, warp_rows(), keys, args.width, v_sum, one);
    if (args.gk != nullptr) store_rows(static_cast<T*>(args.gk) + result, warp_rows(), keys, args.width, k_sum, factor);
  }
}

#define ATTENTION_VJP_OF(T, suffix, C)                                                                              \
  KERNEL(attention_vjp_query_##suffix##_##C, AttentionArgs, ATTENTION_THREADS) { attention_vjp_query<T, C>(args); } \
  KERNEL(attention_vjp_key_##suffix##_##C, AttentionArgs, ATTENTION_THREADS) { attention_vjp_key<T, C>(args); }
ATTENTION_WIDTHS(ATTENTION_VJP_OF)
