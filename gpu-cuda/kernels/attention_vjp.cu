// The pullback of attention, which makes the weights again from their logarithmic sum: no matrix of them is kept. Two kernels without atomics, so that
// results are the same each time; the order of the products: Dao (2023). That of the queries comes first: it leaves delta to that of the keys.
#include "attention.cuh"

// How many keys (of the query's kernel) or queries (of the key's) a tile holds, in eights.
template <class T, int C>
constexpr int QUERY_TILES = sizeof(T) == 4 && C > 64 ? 2 : 4;
template <class T, int C>
constexpr int KEY_TILES = C > 96 || (sizeof(T) == 4 && C > 64) ? 2 : 4;
// Of how many of them a warp takes the scores at a time: where it takes its queries twice, there are registers for sixteen keys.
template <class T, int C>
constexpr int QUERY_STEP = GROUPS<T, C> == 2 ? 2 : QUERY_TILES<T, C>;
template <class T, int C>
constexpr int QUERY_RESIDENT = GROUPS<T, C>;
template <class T, int C>
constexpr int KEY_RESIDENT = sizeof(T) == 2 && C <= 64 ? 3 : 1;
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
  constexpr int TILES = QUERY_TILES<T, C>, KEYS = 8 * TILES, R = GROUPS<T, C>, STEP = QUERY_STEP<T, C>;
  SHARED(T, k_tile, [STAGES<T>][KEYS][PITCH<T, C>]);
  SHARED(T, v_tile, [STAGES<T>][KEYS][PITCH<T, C>]);
  ATTENTION_EXCHANGE(T, STEP);
  const int row = warp_rows(R);
  const float scale = root_share(args.width), rate = LOG2_E * scale;
  const int queries = static_cast<int>(args.queries), keys = static_cast<int>(args.keys), width = args.width;
  for (long long entry = blockIdx.y; entry < args.batch.elements; entry += gridDim.y) {
    RowsOf<T> q, k, v, g, out, gq;
    find_rows<T, 5>(args.batch, entry, {&args.q, &args.k, &args.v, &args.g, &args.out}, {&q, &k, &v, &g, &out});
    Left<T, C> left[R], right[R];
    float logsum[R][2], delta[R][2];
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const int first = row + 16 * r;
      left[r] = Left<T, C>(q, first, queries, width), right[r] = Left<T, C>(g, first, queries, width);
      load_of_rows(args.logsum + entry * queries, first, queries, logsum[r]);
      dot_rows<C>(right[r], Left<T, C>(out, first, queries, width), delta[r]);
      store_of_rows(args.delta + entry * queries, first, queries, delta[r]);
    }
    if (args.gq.batch.data == nullptr) continue;
    float sum[R][C / 8][4] = {};
    const auto fetch = [&](int stage, int first) {
      begin_tile<C>(k_tile[stage], k, first, keys, width);
      begin_tile<C>(v_tile[stage], v, first, keys, width);
    };
    for_each_tile<STAGES<T>, KEYS>(keys, fetch, [&](int stage, int first) {
      if (row >= queries) return;
#pragma unroll 1
      for (int part = 0; part < KEYS; part += 8 * STEP) {
        const auto& some_keys = rows_from<T, C, 8 * STEP>(k_tile[stage], part);
        float weights[R][STEP][4], slopes[R][STEP][4];
        add_scores<C, Start::Zero>(weights, left, some_keys);
        add_scores<C, Start::Zero>(slopes, right, rows_from<T, C, 8 * STEP>(v_tile[stage], part));
#pragma unroll
        for (int r = 0; r < R; ++r) {
#pragma unroll
          for (int j = 0; j < STEP; ++j) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              slopes[r][j][e] = fast_exp2(fmaf(rate, weights[r][j][e], -logsum[r][e / 2])) * (slopes[r][j][e] - delta[r][e / 2]);
              if (first + part + column_of(j, e) >= keys) slopes[r][j][e] = 0.0f;
            }
          }
        }
        add_weighted<C>(sum, slopes, some_keys, exchange);
      }
    });
    const float factor[2] = {scale, scale};
    find_rows<T, 1>(args.batch, entry, {&args.gq}, {&gq});
#pragma unroll
    for (int r = 0; r < R; ++r) store_rows(gq, row + 16 * r, queries, width, sum[r], factor);
  }
}

// gv = Σ_q w g and gk = scale Σ_q w (g·v − delta) q. The rows are keys, the columns queries; those after the last have zeros throughout, and add nothing.
template <class T, int C>
__device__ __forceinline__ void attention_vjp_key(const AttentionArgs& args) {
  constexpr int TILES = KEY_TILES<T, C>, QUERIES = 8 * TILES;
  SHARED(T, q_tile, [KEY_STAGES<T, C>][QUERIES][PITCH<T, C>]);
  SHARED(T, g_tile, [KEY_STAGES<T, C>][QUERIES][PITCH<T, C>]);
  SHARED(float, logsum, [KEY_STAGES<T, C>][QUERIES]);
  SHARED(float, delta, [KEY_STAGES<T, C>][QUERIES]);
  ATTENTION_EXCHANGE(T, TILES);
  const int row = warp_rows();
  const float scale = root_share(args.width), rate = LOG2_E * scale;
  const int queries = static_cast<int>(args.queries), keys = static_cast<int>(args.keys), width = args.width;
  for (long long entry = blockIdx.y; entry < args.batch.elements; entry += gridDim.y) {
    RowsOf<T> q, k, v, g, gk, gv;
    find_rows<T, 4>(args.batch, entry, {&args.q, &args.k, &args.v, &args.g}, {&q, &k, &v, &g});
    const Left<T, C> left(k, row, keys, width), right(v, row, keys, width);
    float k_sum[C / 8][4] = {}, v_sum[C / 8][4] = {};
    const auto fetch = [&](int stage, int first) {
      begin_tile<C>(q_tile[stage], q, first, queries, width);
      begin_tile<C>(g_tile[stage], g, first, queries, width);
      if (threadIdx.x < QUERIES) {
        const int i = first + static_cast<int>(threadIdx.x);
        begin_copy<4>(&logsum[stage][threadIdx.x], args.logsum + entry * queries + i, i < queries);
        begin_copy<4>(&delta[stage][threadIdx.x], args.delta + entry * queries + i, i < queries);
      }
    };
    for_each_tile<KEY_STAGES<T, C>, QUERIES>(queries, fetch, [&](int stage, int) {
      if (row >= keys) return;
      float weights[TILES][4], slopes[TILES][4];
      add_scores<C, Start::Zero>(weights, left, q_tile[stage]);
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
        const float2 base = *reinterpret_cast<const float2*>(&logsum[stage][column_of(j, 0)]);
#pragma unroll
        for (int e = 0; e < 4; ++e) weights[j][e] = fast_exp2(fmaf(rate, weights[j][e], e % 2 == 0 ? -base.x : -base.y));
      }
      if (args.gv.batch.data != nullptr) add_weighted<C>(v_sum, weights, g_tile[stage], exchange);
      if (args.gk.batch.data != nullptr) {
        add_scores<C, Start::Zero>(slopes, right, g_tile[stage]);
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
          const float2 mean = *reinterpret_cast<const float2*>(&delta[stage][column_of(j, 0)]);
#pragma unroll
          for (int e = 0; e < 4; ++e) slopes[j][e] = weights[j][e] * (slopes[j][e] - (e % 2 == 0 ? mean.x : mean.y));
        }
        add_weighted<C>(k_sum, slopes, q_tile[stage], exchange);
      }
    });
    const float one[2] = {1.0f, 1.0f}, factor[2] = {scale, scale};
    find_rows<T, 2>(args.batch, entry, {&args.gk, &args.gv}, {&gk, &gv});
    if (gv.data != nullptr) store_rows(gv, row, keys, width, v_sum, one);
    if (gk.data != nullptr) store_rows(gk, row, keys, width, k_sum, factor);
  }
}

#define ATTENTION_VJP_OF(T, suffix, C)                                                                                                          \
  KERNEL_RESIDENT(attention_vjp_query_##suffix##_##C, AttentionArgs, ATTENTION_THREADS, (QUERY_RESIDENT<T, C>)) { attention_vjp_query<T, C>(args); } \
  KERNEL_RESIDENT(attention_vjp_key_##suffix##_##C, AttentionArgs, ATTENTION_THREADS, (KEY_RESIDENT<T, C>)) { attention_vjp_key<T, C>(args); }
ATTENTION_WIDTHS(ATTENTION_VJP_OF)
