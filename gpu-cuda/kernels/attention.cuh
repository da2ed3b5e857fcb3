// What the kernels of attention share. A block takes 64 rows, a warp 16 of them (or twice that), and goes through the other side in tiles. Weights are powers of 2: with
// rate = log₂(e)/√d, e^(s/√d) is 2^(rate s).
#pragma once

#include "product.cuh"
#include "warp.cuh"

// The room of this warp to exchange weights.
#define ATTENTION_EXCHANGE(T, TILES)                                                                                          \
  SHARED(float, exchange_rows, [sizeof(T) == 4 ? ATTENTION_ROWS : 1][8 * (TILES) + 4]);                                       \
  const Exchange<T, TILES> exchange { sizeof(T) == 4 ? exchange_rows + threadIdx.x / WARP_SIZE * 16 : exchange_rows }

// The first row of this warp, which takes `groups` times 16.
__device__ __forceinline__ int warp_rows(int groups = 1) {
  return static_cast<int>(blockIdx.x * ATTENTION_ROWS + threadIdx.x / WARP_SIZE * 16) * groups;
}

// The column of entry e of part j.
__device__ __forceinline__ int column_of(int j, int e) { return 8 * j + threadIdx.x % 4 * 2 + e % 2; }

// `op` over the four lanes that share a row.
template <class Op>
__device__ __forceinline__ float fold_row(float value, Op op) {
  value = op(value, __shfl_xor_sync(ALL_LANES, value, 1));
  return op(value, __shfl_xor_sync(ALL_LANES, value, 2));
}

constexpr float LOG2_E = 1.4426950408889634f;

struct LargestIgnoringNan {
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

__device__ __forceinline__ float root_share(int width) { return 1.0f / sqrtf(static_cast<float>(width)); }

// How far beyond the base of its weights a score may be, in powers of 2: until then nothing need be rescaled, and the weights are as exact.
constexpr float HEADROOM = 8.0f;

// The running softmax of two rows: a score near the largest so far, to which weights are relative, and this lane's share of the sum.
struct RunningSoftmax {
  float base[2] = {-infinity(), -infinity()};
  float sum[2] = {0.0f, 0.0f};

  // Turns the scores of the keys `first`.. into weights relative to `base`. Where that had to be raised, rescale(factor) is for what was summed before.
  template <int TILES, class Rescale>
  __device__ __forceinline__ void take(float (&scores)[TILES][4], int first, int keys, float rate, Rescale rescale) {
    if (first + 8 * TILES > keys) {
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (first + column_of(j, e) >= keys) scores[j][e] = -infinity();
        }
      }
    }
    // A score that is NaN need not be the largest: its weight is NaN all the same.
    float largest[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      largest[half] = fmaxf(scores[0][2 * half], scores[0][2 * half + 1]);
#pragma unroll
      for (int j = 1; j < TILES; ++j) largest[half] = fmaxf(largest[half], fmaxf(scores[j][2 * half], scores[j][2 * half + 1]));
      largest[half] = fold_row(largest[half], LargestIgnoringNan());
    }
    const bool raised = rate * (largest[0] - base[0]) > HEADROOM || rate * (largest[1] - base[1]) > HEADROOM;
    if (__any_sync(ALL_LANES, raised)) {
      float factor[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float higher = fmaxf(largest[half], base[half]);
        factor[half] = higher == base[half] ? 1.0f : fast_exp2(rate * (base[half] - higher));
        base[half] = higher;
        sum[half] *= factor[half];
      }
      rescale(factor);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float shift = base[half] == -infinity() ? 0.0f : rate * base[half];
      float part = 0.0f;
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          scores[j][e] = fast_exp2(fmaf(rate, scores[j][e], -shift));
          part += scores[j][e];
        }
      }
      sum[half] += part;
    }
  }

  // 1/Σ and log₂ Σ 2^(rate score), of each row. A sum over no keys at all makes a result of zeros.
  __device__ __forceinline__ void finish(int keys, float rate, float (&inverse)[2], float (&logsum)[2]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = fold_row(sum[half], Sum());
      inverse[half] = keys > 0 ? 1.0f / total : 0.0f;
      logsum[half] = (base[half] == -infinity() ? 0.0f : rate * base[half]) + log2f(total);
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

// How many tiles of an operand there are at a time: one in f32, which is for exactness.
template <class T>
constexpr int STAGES = sizeof(T) == 2 ? 2 : 1;

// How often a warp takes 16 queries, for their value and their gradient: twice where registers allow, so that what it reads of a tile serves for both. The
// adapter knows it too.
template <class T, int C>
constexpr int GROUPS = sizeof(T) == 2 && C <= 80 ? 2 : 1;

// Calls of(type, suffix, C) for the widths of heads up to which there are kernels.
// Those of f32 are for exactness, and come in fewer widths.
#define ATTENTION_WIDTHS(of)                                                        \
  of(float, f32, 32) of(float, f32, 64) of(float, f32, 96) of(float, f32, 128)      \
  of(bf16, bf16, 16) of(bf16, bf16, 32) of(bf16, bf16, 48) of(bf16, bf16, 64)       \
  of(bf16, bf16, 80) of(bf16, bf16, 96) of(bf16, bf16, 112) of(bf16, bf16, 128)
