// softmax(q kᵀ/√d) v in one pass, and its tangent. Online softmax: Milakov, Gimelshein (2018).
#include "attention.cuh"

// How many keys a tile holds, in eights: as many as registers and 48 KB of shared memory allow.
template <class T, int C>
constexpr int VALUE_TILES = sizeof(T) == 4 && C > 64 ? 2 : 4;
template <class T, int C>
constexpr int RESIDENT = GROUPS<T, C>;
template <class T, int C>
constexpr int TANGENT_TILES = sizeof(T) == 4 || C > 80 ? 2 : 4;

template <class T, int C>
__device__ __forceinline__ void attention(const AttentionArgs& args) {
  constexpr int TILES = VALUE_TILES<T, C>, KEYS = 8 * TILES, R = GROUPS<T, C>;
  SHARED(T, k_tile, [STAGES<T>][KEYS][PITCH<T, C>]);
  SHARED(T, v_tile, [STAGES<T>][KEYS][PITCH<T, C>]);
  ATTENTION_EXCHANGE(T, TILES);
  const int row = warp_rows(R);
  const float rate = LOG2_E * root_share(args.width);
  const int queries = static_cast<int>(args.queries), keys = static_cast<int>(args.keys), width = args.width;
  for (long long entry = blockIdx.y; entry < args.batch.elements; entry += gridDim.y) {
    RowsOf<T> q, k, v, out;
    find_rows<T, 3>(args.batch, entry, {&args.q, &args.k, &args.v}, {&q, &k, &v});
    Left<T, C> left[R];
#pragma unroll
    for (int r = 0; r < R; ++r) left[r] = Left<T, C>(q, row + 16 * r, queries, width);
    RunningSoftmax softmax[R];
    float sum[R][C / 8][4] = {};
    const auto fetch = [&](int stage, int first) {
      begin_tile<C>(k_tile[stage], k, first, keys, width);
      begin_tile<C>(v_tile[stage], v, first, keys, width);
    };
    for_each_tile<STAGES<T>, KEYS>(keys, fetch, [&](int stage, int first) {
      if (row >= queries) return;
      float weights[R][TILES][4];
      add_scores<C, Start::Zero>(weights, left, k_tile[stage]);
#pragma unroll
      for (int r = 0; r < R; ++r) softmax[r].take(weights[r], first, keys, rate, [&](const float(&factor)[2]) { rescale(sum[r], factor); });
      add_weighted<C>(sum, weights, v_tile[stage], exchange);
    });
    find_rows<T, 1>(args.batch, entry, {&args.out}, {&out});
#pragma unroll
    for (int r = 0; r < R; ++r) {
      float inverse[2], logsum[2];
      softmax[r].finish(keys, rate, inverse, logsum);
      store_rows(out, row + 16 * r, queries, width, sum[r], inverse);
      if (args.logsum != nullptr) store_of_rows(args.logsum + entry * queries, row + 16 * r, queries, logsum);
    }
  }
}

// With s = scale q·k and ṡ its tangent: tangent = Σ w (ṡ v + v̇) − (Σ w ṡ) out.
template <class T, int C>
__device__ __forceinline__ void attention_jvp(const AttentionArgs& args) {
  constexpr int TILES = TANGENT_TILES<T, C>, KEYS = 8 * TILES;
  SHARED(T, k_tile, [STAGES<T>][KEYS][PITCH<T, C>]);
  SHARED(T, v_tile, [STAGES<T>][KEYS][PITCH<T, C>]);
  SHARED(T, tk_tile, [STAGES<T>][KEYS][PITCH<T, C>]);
  SHARED(T, tv_tile, [STAGES<T>][KEYS][PITCH<T, C>]);
  ATTENTION_EXCHANGE(T, TILES);
  const int row = warp_rows();
  const float scale = root_share(args.width), rate = LOG2_E * scale;
  const int queries = static_cast<int>(args.queries), keys = static_cast<int>(args.keys), width = args.width;
  for (long long entry = blockIdx.y; entry < args.batch.elements; entry += gridDim.y) {
    RowsOf<T> q, k, v, tq, tk, tv, out, moved_out;
    find_rows<T, 6>(args.batch, entry, {&args.q, &args.k, &args.v, &args.tq, &args.tk, &args.tv}, {&q, &k, &v, &tq, &tk, &tv});
    const Left<T, C> left(q, row, queries, width), moved(tq, row, queries, width);
    RunningSoftmax softmax;
    float sum[C / 8][4] = {}, tangent[C / 8][4] = {}, drift[2] = {0.0f, 0.0f};
    const auto fetch = [&](int stage, int first) {
      begin_tile<C>(k_tile[stage], k, first, keys, width);
      begin_tile<C>(v_tile[stage], v, first, keys, width);
      if (tk.data != nullptr) begin_tile<C>(tk_tile[stage], tk, first, keys, width);
      if (tv.data != nullptr) begin_tile<C>(tv_tile[stage], tv, first, keys, width);
    };
    for_each_tile<STAGES<T>, KEYS>(keys, fetch, [&](int stage, int first) {
      if (C <= 112 && row >= queries) return; // the widest head has no registers for a branch
      float weights[TILES][4], slopes[TILES][4];
      add_scores<C, Start::Zero>(weights, left, k_tile[stage]);
      add_scores<C, Start::Zero>(slopes, moved, k_tile[stage]); // of zeros, if missing: a branch here would cost registers that the widest head does not have
      if (tk.data != nullptr) add_scores<C, Start::There>(slopes, left, tk_tile[stage]);
      softmax.take(weights, first, keys, rate, [&](const float(&factor)[2]) {
        rescale(sum, factor);
        rescale(tangent, factor);
        drift[0] *= factor[0], drift[1] *= factor[1];
      });
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          // Those of keys after the last are zero already.
          slopes[j][e] = weights[j][e] * (scale * slopes[j][e]);
          drift[e / 2] += slopes[j][e];
        }
      }
      add_weighted<C>(sum, weights, v_tile[stage], exchange);
      add_weighted<C>(tangent, slopes, v_tile[stage], exchange);
      if (tv.data != nullptr) add_weighted<C>(tangent, weights, tv_tile[stage], exchange);
    });
    float inverse[2], logsum[2];
    softmax.finish(keys, rate, inverse, logsum);
#pragma unroll
    for (int half = 0; half < 2; ++half) drift[half] = fold_row(drift[half], Sum()) * inverse[half];
#pragma unroll
    for (int j = 0; j < C / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) tangent[j][e] -= drift[e / 2] * sum[j][e];
    }
    find_rows<T, 2>(args.batch, entry, {&args.out, &args.tangent}, {&out, &moved_out});
    store_rows(out, row, queries, width, sum, inverse);
    store_rows(moved_out, row, queries, width, tangent, inverse);
  }
}

#define ATTENTION_OF(T, suffix, C)                                                                                       \
  KERNEL_RESIDENT(attention_##suffix##_##C, AttentionArgs, ATTENTION_THREADS, (RESIDENT<T, C>)) { attention<T, C>(args); } \
  KERNEL(attention_jvp_##suffix##_##C, AttentionArgs, ATTENTION_THREADS) { attention_jvp<T, C>(args); }
ATTENTION_WIDTHS(ATTENTION_OF)
