// The pullback of attention, which makes the weights again from their logarithmic sum: no matrix of them is kept. Two kernels without atomics, so that
// results are the same each time; the order of the products: Dao (2023). That of the queries comes first: it leaves delta to that of the keys.
#include "attention.cuh"

// How many keys (of the query's kernel) or queries (of the key's) a tile holds, in eights.
template <class T, int C>
constexpr int QUERY_TILES = sizeof(T) == 2 && C <= 80 ? 8 : 4;
template <int C>
constexpr int KEY_TILES = C > 96 ? 2 : 4;
// A second stage would cost registers that the widest head does not have.
template <class T, int C>
constexpr int KEY_STAGES = C > 112 ? 1 : STAGES<T>;

// Σ_c g out of this lane's rows.
template <int C>
__device__ __forceinline__ void dot_rows(const Left<bf16, C>& g, const Left<bf16, C>& out, float (&dot)[2]) {
  dot[0] = dot[1] = 0.0f;
#pragma unroll
  for (int k = 0; k < C / 16; ++k) {
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      float& sum = dot[part % 2];
      sum = fmaf(bf16_low(g.a[k][part]), bf16_low(out.a[k][part]), sum);
      sum = fmaf(bf16_high(g.a[k][part]), bf16_high(out.a[k][part]), sum);
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) dot[half] = fold_row(dot[half], Sum());
}

template <int C>
__device__ __forceinline__ void dot_rows(const Left<float, C>& g, const Left<float, C>& out, float (&dot)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = 0.0f;
#pragma unroll 1
    for (int c = threadIdx.x % 4 * 4; c < g.width; c += 16) {
      float x[4], y[4];
      g.load_at(half, c, x);
      out.load_at(half, c, y);
#pragma unroll
      for (int k = 0; k < 4; ++k) sum = fmaf(x[k], y[k], sum);
    }
    dot[half] = fold_row(sum, Sum());
  }
}

// delta = Σ_c g out, and gq = scale Σ_k w (g·v − delta) k.
template <class T, int C>
__device__ __forceinline__ void attention_vjp_query(const AttentionArgs& args) {
  constexpr int TILES = QUERY_TILES<T, C>, KEYS = 8 * TILES;
  SHARED(T, k_tile, [STAGES<T>][KEYS][PITCH<T, C>]);
  SHARED(T, v_tile, [STAGES<T>][KEYS][PITCH<T, C>]);
  ATTENTION_EXCHANGE(T, TILES);
  const float scale = root_share(args.width), rate = scale * LOG2_E;
  const int queries = static_cast<int>(args.queries), keys = static_cast<int>(args.keys);
  for (long long entry = blockIdx.y; entry < args.batch.elements; entry += gridDim.y) {
    const long long result = entry * args.queries * args.width;
    const RowsOf<T> q(args.batch, args.q, entry, queries, args.width), k(args.batch, args.k, entry, keys, args.width),
        v(args.batch, args.v, entry, keys, args.width), g(static_cast<const T*>(args.g) + result, args.width, queries, args.width),
        out(static_cast<const T*>(args.out) + result, args.width, queries, args.width);
    const Left<T, C> right(g, warp_rows());
    float logsum[2], delta[2];
    dot_rows<C>(right, Left<T, C>(out, warp_rows()), delta);
    store_of_rows(args.delta + entry * args.queries, warp_rows(), queries, delta);
    if (args.gq == nullptr) continue;
    const Left<T, C> left(q, warp_rows());
    load_of_rows(args.logsum + entry * args.queries, warp_rows(), queries, logsum);
    const float base[2] = {logsum[0] * LOG2_E, logsum[1] * LOG2_E};
    float sum[C / 8][4] = {};
    const auto fetch = [&](int stage, int first) {
      begin_tile<C>(k_tile[stage], k, first);
      begin_tile<C>(v_tile[stage], v, first);
    };
    for_each_tile<STAGES<T>, KEYS>(keys, fetch, [&](int stage, int first) {
      float weights[TILES][4] = {}, slopes[TILES][4] = {};
      add_scores<C>(weights, left, k_tile[stage]);
      add_scores<C>(slopes, right, v_tile[stage]);
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) slopes[j][e] = fast_exp2(fmaf(rate, weights[j][e], -base[e / 2])) * (slopes[j][e] - delta[e / 2]);
      }
      if (first + KEYS > keys) {
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            if (first + column_of(j, e) >= keys) slopes[j][e] = 0.0f;
          }
        }
      }
      add_weighted<C>(sum, slopes, k_tile[stage], exchange);
    });
    const float factor[2] = {scale, scale};
    store_rows(static_cast<T*>(args.gq) + result, warp_rows(), queries, args.width, sum, factor);
  }
}

// gv = Σ_q w g and gk = scale Σ_q w (g·v − delta) q. The rows are keys, the columns queries; those after the last have zeros throughout, and add nothing.
template <class T, int C>
__device__ __forceinline__ void attention_vjp_key(const AttentionArgs& args) {
  constexpr int TILES = KEY_TILES<C>, QUERIES = 8 * TILES;
  SHARED(T, q_tile, [KEY_STAGES<T, C>][QUERIES][PITCH<T, C>]);
  SHARED(T, g_tile, [KEY_STAGES<T, C>][QUERIES][PITCH<T, C>]);
  SHARED(float, logsum, [KEY_STAGES<T, C>][QUERIES]);
  SHARED(float, delta, [KEY_STAGES<T, C>][QUERIES]);
  ATTENTION_EXCHANGE(T, TILES);
  const float scale = root_share(args.width), rate = scale * LOG2_E;
  const int queries = static_cast<int>(args.queries), keys = static_cast<int>(args.keys);
  for (long long entry = blockIdx.y; entry < args.batch.elements; entry += gridDim.y) {
    const RowsOf<T> q(args.batch, args.q, entry, queries, args.width), k(args.batch, args.k, entry, keys, args.width),
        v(args.batch, args.v, entry, keys, args.width),
        g(static_cast<const T*>(args.g) + entry * args.queries * args.width, args.width, queries, args.width);
    const Left<T, C> left(k, warp_rows()), right(v, warp_rows());
    float k_sum[C / 8][4] = {}, v_sum[C / 8][4] = {};
    const auto fetch = [&](int stage, int first) {
      begin_tile<C>(q_tile[stage], q, first);
      begin_tile<C>(g_tile[stage], g, first);
      if (threadIdx.x < QUERIES) {
        const int i = first + static_cast<int>(threadIdx.x);
        begin_copy<4>(&logsum[stage][threadIdx.x], args.logsum + entry * args.queries + i, i < queries);
        begin_copy<4>(&delta[stage][threadIdx.x], args.delta + entry * args.queries + i, i < queries);
      }
    };
    for_each_tile<KEY_STAGES<T, C>, QUERIES>(queries, fetch, [&](int stage, int) {
      float weights[TILES][4] = {}, slopes[TILES][4] = {};
      add_scores<C>(weights, left, q_tile[stage]);
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) weights[j][e] = fast_exp2(fmaf(rate, weights[j][e], -LOG2_E * logsum[stage][column_of(j, e)]));
      }
      if (args.gv != nullptr) add_weighted<C>(v_sum, weights, g_tile[stage], exchange);
      if (args.gk != nullptr) {
        add_scores<C>(slopes, right, g_tile[stage]);
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
#pragma unroll
          for (int e = 0; e < 4; ++e) slopes[j][e] = weights[j][e] * (slopes[j][e] - delta[stage][column_of(j, e)]);
        }
        add_weighted<C>(k_sum, slopes, q_tile[stage], exchange);
      }
    });
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
