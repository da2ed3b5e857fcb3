// softmax(q kᵀ/√d) v in one pass, its pullback and its tangent. No matrix of weights is kept: the pullback makes them again from their logarithmic sum.
// A block takes 64 rows, a warp 16 of them, and goes through the other side in tiles. Online softmax: Milakov, Gimelshein (2018); the order of the
// pullback: Dao (2023), by two kernels without atomics, so that results are the same each time.
#include "product.cuh"
#include "warp.cuh"

constexpr int ATTENTION_WARPS = ATTENTION_THREADS / WARP_SIZE;

// How many keys (or queries) a tile holds, in eights: as many as registers and 48 KB of shared memory allow.
template <class T, int C>
constexpr int VALUE_TILES = sizeof(T) == 2 ? 8 : 4;
template <class T, int C>
constexpr int QUERY_TILES = 4;
template <class T, int C>
constexpr int KEY_TILES = C > 96 ? 2 : 4;
template <class T, int C>
constexpr int TANGENT_TILES = sizeof(T) == 4 || C > 64 ? 2 : 4;

// The rows of this warp, and its room to exchange weights.
#define ATTENTION_EXCHANGE(T, TILES)                                                                                       \
  SHARED(float, exchange_rows, [sizeof(T) == 4 ? ATTENTION_ROWS : 1][8 * TILES + 4]);                                      \
  const Exchange<T, TILES> exchange { sizeof(T) == 4 ? exchange_rows + threadIdx.x / WARP_SIZE * 16 : exchange_rows }

__device__ __forceinline__ int warp_rows() { return static_cast<int>(blockIdx.x * ATTENTION_ROWS + threadIdx.x / WARP_SIZE * 16); }

// The column of entry e of part j.
__device__ __forceinline__ int column_of(int j, int e) { return 8 * j + threadIdx.x % 4 * 2 + e % 2; }

// `op` over the four lanes that share a row.
template <class Op>
__device__ __forceinline__ float fold_row(float value, Op op) {
  value = op(value, __shfl_xor_sync(ALL_LANES, value, 1));
  return op(value, __shfl_xor_sync(ALL_LANES, value, 2));
}

__device__ __forceinline__ float root_share(int width) { return 1.0f / sqrtf(static_cast<float>(width)); }

// The running softmax of two rows: the largest score so far and this lane's share of the sum.
struct RunningSoftmax {
  float maximum[2] = {-infinity(), -infinity()};
  float sum[2] = {0.0f, 0.0f};

  // Turns the scores of the keys `first`.. into weights relative to the maximum so far, and gives the factor for what was summed before.
  template <int TILES>
  __device__ __forceinline__ void take(float (&scores)[TILES][4], int first, int keys, float scale, float (&factor)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = maximum[half];
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          if (first + column_of(j, e) >= keys) scores[j][e] = -infinity();
          largest = larger(largest, scores[j][e]);
        }
      }
      largest = fold_row(largest, Larger());
      const float base = largest == -infinity() ? 0.0f : largest;
      factor[half] = expf(scale * (maximum[half] - base));
      maximum[half] = largest;
      float part = 0.0f;
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          scores[j][e] = expf(scale * (scores[j][e] - base));
          part += scores[j][e];
        }
      }
      sum[half] = sum[half] * factor[half] + part;
    }
  }

  // 1/Σ and the logarithm of Σ e^(scale score), of each row. A sum over no keys at all makes a result of zeros.
  __device__ __forceinline__ void finish(int keys, float scale, float (&inverse)[2], float (&logsum)[2]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = fold_row(sum[half], Sum());
      inverse[half] = keys > 0 ? 1.0f / total : 0.0f;
      logsum[half] = (maximum[half] == -infinity() ? 0.0f : scale * maximum[half]) + logf(total);
    }
  }
};

template <int TILES>
__device__ __forceinline__ void rescale(float (&sum)[TILES][4], const float (&factor)[2]) {
#pragma unroll
  for (int j = 0; j < TILES; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) sum[j][e] *= factor[e / 2];
  }
}

// Two numbers of the rows of this lane, to one place for each row.
__device__ __forceinline__ void store_of_rows(float* out, int first, int count, const float (&value)[2]) {
  const int g = threadIdx.x % WARP_SIZE / 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (threadIdx.x % 4 == 0 && first + g + 8 * half < count) out[first + g + 8 * half] = value[half];
  }
}

__device__ __forceinline__ void load_of_rows(const float* from, int first, int count, float (&value)[2]) {
  const int g = threadIdx.x % WARP_SIZE / 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) value[half] = first + g + 8 * half < count ? from[first + g + 8 * half] : 0.0f;
}

template <class T, int C>
__device__ __forceinline__ void attention(const AttentionArgs& args) {
  constexpr int TILES = VALUE_TILES<T, C>, KEYS = 8 * TILES;
  SHARED(T, k_tile, [KEYS][PITCH<T, C>]);
  SHARED(T, v_tile, [KEYS][PITCH<T, C>]);
  ATTENTION_EXCHANGE(T, TILES);
  const float scale = root_share(args.width);
  const int queries = static_cast<int>(args.queries), keys = static_cast<int>(args.keys);
  for (long long entry = blockIdx.y; entry < args.batch.elements; entry += gridDim.y) {
    const RowsOf<T> q(args.batch, args.q, entry, queries, args.width), k(args.batch, args.k, entry, keys, args.width),
        v(args.batch, args.v, entry, keys, args.width);
    const Left<T, C> left(q, warp_rows());
    RunningSoftmax softmax;
    float sum[C / 8][4] = {};
    for (int first = 0; first < keys; first += KEYS) {
      __syncthreads(); // the tiles are no longer read
      load_tile<C>(k_tile, k, first);
      load_tile<C>(v_tile, v, first);
      __syncthreads();
      float weights[TILES][4] = {}, factor[2];
      add_scores<C>(weights, left, k_tile);
      softmax.take(weights, first, keys, scale, factor);
      rescale(sum, factor);
      add_weighted<C>(sum, weights, v_tile, exchange);
    }
    float inverse[2], logsum[2];
    softmax.finish(keys, scale, inverse, logsum);
    store_rows(static_cast<T*>(args.out) + entry * args.queries * args.width, warp_rows(), queries, args.width, sum, inverse);
    if (args.logsum != nullptr) store_of_rows(args.logsum + entry * args.queries, warp_rows(), queries, logsum);
  }
}

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
  constexpr int TILES = QUERY_TILES<T, C>, KEYS = 8 * TILES;
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
  constexpr int TILES = KEY_TILES<T, C>, QUERIES = 8 * TILES;
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

// With s = scale q·k and ṡ its tangent: tangent = Σ w (ṡ v + v̇) − (Σ w ṡ) out.
template <class T, int C>
__device__ __forceinline__ void attention_jvp(const AttentionArgs& args) {
  constexpr int TILES = TANGENT_TILES<T, C>, KEYS = 8 * TILES;
  SHARED(T, k_tile, [KEYS][PITCH<T, C>]);
  SHARED(T, v_tile, [KEYS][PITCH<T, C>]);
  SHARED(T, tk_tile, [KEYS][PITCH<T, C>]);
  SHARED(T, tv_tile, [KEYS][PITCH<T, C>]);
  ATTENTION_EXCHANGE(T, TILES);
  const float scale = root_share(args.width);
  const int queries = static_cast<int>(args.queries), keys = static_cast<int>(args.keys);
  for (long long entry = blockIdx.y; entry < args.batch.elements; entry += gridDim.y) {
    const RowsOf<T> q(args.batch, args.q, entry, queries, args.width), k(args.batch, args.k, entry, keys, args.width),
        v(args.batch, args.v, entry, keys, args.width), tq(args.batch, args.tq, entry, queries, args.width),
        tk(args.batch, args.tk, entry, keys, args.width), tv(args.batch, args.tv, entry, keys, args.width);
    const Left<T, C> left(q, warp_rows()), moved(tq, warp_rows());
    RunningSoftmax softmax;
    float sum[C / 8][4] = {}, tangent[C / 8][4] = {}, drift[2] = {0.0f, 0.0f};
    for (int first = 0; first < keys; first += KEYS) {
      __syncthreads(); // the tiles are no longer read
      load_tile<C>(k_tile, k, first);
      load_tile<C>(v_tile, v, first);
      if (tk.data != nullptr) load_tile<C>(tk_tile, tk, first);
      if (tv.data != nullptr) load_tile<C>(tv_tile, tv, first);
      __syncthreads();
      float weights[TILES][4] = {}, slopes[TILES][4] = {}, factor[2];
      add_scores<C>(weights, left, k_tile);
      add_scores<C>(slopes, moved, k_tile); // of zeros, if missing: a branch here would cost registers that the widest head does not have
      if (tk.data != nullptr) add_scores<C>(slopes, left, tk_tile);
      softmax.take(weights, first, keys, scale, factor);
      rescale(sum, factor);
      rescale(tangent, factor);
      drift[0] *= factor[0], drift[1] *= factor[1];
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          slopes[j][e] = first + column_of(j, e) < keys ? weights[j][e] * (scale * slopes[j][e]) : 0.0f;
          drift[e / 2] += slopes[j][e];
        }
      }
      add_weighted<C>(sum, weights, v_tile, exchange);
      add_weighted<C>(tangent, slopes, v_tile, exchange);
      if (tv.data != nullptr) add_weighted<C>(tangent, weights, tv_tile, exchange);
    }
    float inverse[2], logsum[2];
    softmax.finish(keys, scale, inverse, logsum);
#pragma unroll
    for (int half = 0; half < 2; ++half) drift[half] = fold_row(drift[half], Sum()) * inverse[half];
#pragma unroll
    for (int j = 0; j < C / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) tangent[j][e] -= drift[e / 2] * sum[j][e];
    }
    const long long result = entry * args.queries * args.width;
    store_rows(static_cast<T*>(args.out) + result, warp_rows(), queries, args.width, sum, inverse);
    store_rows(static_cast<T*>(args.tangent) + result, warp_rows(), queries, args.width, tangent, inverse);
    if (args.logsum != nullptr) store_of_rows(args.logsum + entry * args.queries, warp_rows(), queries, logsum);
  }
}

// The kernels of heads up to C wide. Those of f32 are for exactness, and come in fewer widths.
#define ATTENTION_OF(T, suffix, C)                                                                                              \
  KERNEL(attention_##suffix##_##C, AttentionArgs, ATTENTION_THREADS) { attention<T, C>(args); }                                 \
  KERNEL(attention_vjp_query_##suffix##_##C, AttentionArgs, ATTENTION_THREADS) { attention_vjp_query<T, C>(args); }             \
  KERNEL(attention_vjp_key_##suffix##_##C, AttentionArgs, ATTENTION_THREADS) { attention_vjp_key<T, C>(args); }                 \
  KERNEL(attention_jvp_##suffix##_##C, AttentionArgs, ATTENTION_THREADS) { attention_jvp<T, C>(args); }
ATTENTION_OF(float, f32, 32)
ATTENTION_OF(float, f32, 64)
ATTENTION_OF(float, f32, 96)
ATTENTION_OF(float, f32, 128)
ATTENTION_OF(bf16, bf16, 16)
ATTENTION_OF(bf16, bf16, 32)
ATTENTION_OF(bf16, bf16, 48)
ATTENTION_OF(bf16, bf16, 64)
ATTENTION_OF(bf16, bf16, 80)
ATTENTION_OF(bf16, bf16, 96)
ATTENTION_OF(bf16, bf16, 112)
ATTENTION_OF(bf16, bf16, 128)
