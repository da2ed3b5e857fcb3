// Products of small matrices within a warp, for attention: 16 rows of a left operand, held by the warp, with rows of a tile in shared memory.
// Results lie as the tensor cores leave them: lane 4g + t holds, of each 8 columns, the columns 2t and 2t + 1 of row g, then of row g + 8.
// bf16 goes by the tensor cores; f32 by multiply-adds in the same places.
#pragma once

#include "space.cuh"

constexpr int ATTENTION_THREADS = 128;
constexpr int ATTENTION_ROWS = 64; // of a block whose warps take 16 rows each

// The columns of a tile in memory, so that neighbouring rows start in different banks.
template <class T, int C>
constexpr int PITCH = C + LANES<T>;

// Rows in shared memory.
template <class T, int C, int ROWS>
using Tile = T[ROWS][PITCH<T, C>];

// ROWS rows of a larger tile, from `first` on.
template <class T, int C, int ROWS>
__device__ __forceinline__ const Tile<T, C, ROWS>& rows_from(const T (*tile)[PITCH<T, C>], int first) {
  return *reinterpret_cast<const Tile<T, C, ROWS>*>(tile + first);
}

// Rows of `width` numbers, `row` apart; none if data is 0.
template <class T>
struct RowsOf {
  T* data = nullptr;
  long long row = 0;
};

// Those of batch entry `entry` of K operands, in one walk. Results are found when they are written: what is found early holds registers.
template <class T, int K>
__device__ __forceinline__ void find_rows(const Space& batch, long long entry, const Rows* const (&operands)[K], RowsOf<T>* const (&found)[K]) {
  const View* views[K];
#pragma unroll
  for (int k = 0; k < K; ++k) views[k] = &operands[k]->batch;
  const View* const(&fixed)[K] = views;
  long long offset[K];
  walk(batch, batch.rank, fixed, static_cast<unsigned>(entry), offset);
#pragma unroll
  for (int k = 0; k < K; ++k) {
    T* const data = static_cast<T*>(const_cast<void*>(views[k]->data));
    *found[k] = {data == nullptr ? nullptr : data + offset[k], operands[k]->row};
  }
}

// Begins to load ROWS of `count` rows from `first` on, with zeros after the last row and the last column; `wait_for_copies` ends it. All threads of the
// block take part.
template <int C, class T, int ROWS>
__device__ __forceinline__ void begin_tile(Tile<T, C, ROWS>& tile, const RowsOf<T>& source, int first, int count, int width) {
  constexpr int N = LANES<T>, ACROSS = C / N, STEP = ATTENTION_THREADS / ACROSS;
  const int column = threadIdx.x % ACROSS * N, top = threadIdx.x / ACROSS;
  if (ATTENTION_THREADS % ACROSS != 0 && top >= STEP) return;
  const T* from = source.data + (first + top) * source.row + column;
  const int rows = column < width ? count - first : 0; // that are there
#pragma unroll
  for (int i = 0; i < ROWS; i += STEP) {
    const int r = top + i;
    if (i + STEP <= ROWS || r < ROWS) begin_copy<16>(&tile[r][column], from, r < rows);
    from += STEP * source.row;
  }
}

// Goes through `rows` in tiles of ROWS: fetch(stage, first) begins to load a tile, use(stage, first) is for when it is there. With two stages the next tile
// comes meanwhile.
template <int STAGES, int ROWS, class Fetch, class Use>
__device__ __forceinline__ void for_each_tile(int rows, Fetch fetch, Use use) {
  if (STAGES == 2) {
    __syncthreads(); // the tiles of before are no longer read
    fetch(0, 0);
  }
  for (int first = 0, stage = 0; first < rows; first += ROWS) {
    if (STAGES == 1) {
      __syncthreads(); // the tile is no longer read
      fetch(0, first);
    }
    wait_for_copies();
    __syncthreads(); // the tile is there, and the other is no longer read
    if (STAGES == 2 && first + ROWS < rows) fetch(stage ^ 1, first + ROWS);
    use(stage, first);
    if (STAGES == 2) stage ^= 1;
  }
}

// The left operand: 16 rows from `first` on. bf16 stays in registers.
template <class T, int C>
struct Left;

template <int C>
struct Left<bf16, C> {
  unsigned a[C / 16][4];

  Left() = default;
  __device__ __forceinline__ Left(const RowsOf<bf16>& source, int first, int count, int width) {
    const int g = threadIdx.x % WARP_SIZE / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + g + 8 * half;
      const bool inside = source.data != nullptr && row < count;
      const unsigned* const from = reinterpret_cast<const unsigned*>(source.data + row * source.row) + t;
#pragma unroll
      for (int k = 0; k < C / 16; ++k) {
#pragma unroll
        for (int side = 0; side < 2; ++side) {
          // Only the last columns can be beyond the width.
          const bool there = inside && (k + 1 < C / 16 || 16 * k + 8 * side + 2 * t < width);
          a[k][half + 2 * side] = there ? from[8 * k + 4 * side] : 0;
        }
      }
    }
  }
};

template <int C>
struct Left<float, C> {
  const float* rows[2]; // g and g + 8; 0 beyond the last
  int width;

  Left() = default;
  __device__ __forceinline__ Left(const RowsOf<float>& source, int first, int count, int width) : width(width) {
    const int g = threadIdx.x % WARP_SIZE / 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + g + 8 * half;
      rows[half] = source.data != nullptr && row < count ? source.data + row * source.row : nullptr;
    }
  }

  __device__ __forceinline__ void load_at(int half, int column, float (&out)[4]) const {
    if (rows[half] != nullptr) {
      load_lanes(rows[half] + column, out);
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k) out[k] = 0.0f;
    }
  }
};

// One group of rows as a list of one.
template <class G>
__device__ __forceinline__ G (&as_group(G& group))[1] {
  return reinterpret_cast<G(&)[1]>(group);
}

// What a product starts from: what is there, or zeros, which take no registers.
enum class Start { There, Zero };

// sum[r][j] = start + left[r] · tileᵀ: one column for each row of the tile. A warp that takes its rows in GROUPS of 16 reads the tile once for all.
template <int C, Start START, int GROUPS, int TILES>
__device__ __forceinline__ void add_scores(float (&sum)[GROUPS][TILES][4], const Left<bf16, C> (&left)[GROUPS], const Tile<bf16, C, 8 * TILES>& tile) {
  float zeros[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  const int lane = threadIdx.x % WARP_SIZE, matrix = lane / 8, line = lane % 8;
#pragma unroll
  for (int k = 0; k < C / 16; ++k) {
#pragma unroll
    for (int pair = 0; pair < TILES / 2; ++pair) {
      unsigned b[4];
      load_matrices<false>(b, &tile[16 * pair + matrix / 2 * 8 + line][16 * k + matrix % 2 * 8]);
      const unsigned first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
      const bool is_first = START == Start::Zero && k == 0;
#pragma unroll
      for (int r = 0; r < GROUPS; ++r) {
        mma_bf16(sum[r][2 * pair], left[r].a[k], first, is_first ? zeros : sum[r][2 * pair]);
        mma_bf16(sum[r][2 * pair + 1], left[r].a[k], second, is_first ? zeros : sum[r][2 * pair + 1]);
      }
    }
  }
}

template <int C, Start START, int TILES>
__device__ __forceinline__ void add_scores(float (&sum)[TILES][4], const Left<float, C>& left, const Tile<float, C, 8 * TILES>& tile) {
  const int t = threadIdx.x % 4;
  if (START == Start::Zero) {
#pragma unroll
    for (int j = 0; j < TILES; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[j][e] = 0.0f;
    }
  }
#pragma unroll 1
  for (int c = 0; c < left.width; c += 4) {
    float upper[4], lower[4];
    left.load_at(0, c, upper);
    left.load_at(1, c, lower);
#pragma unroll
    for (int j = 0; j < TILES; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float b[4];
        load_lanes(&tile[8 * j + 2 * t + e][c], b);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          sum[j][e] = fmaf(upper[k], b[k], sum[j][e]);
          sum[j][2 + e] = fmaf(lower[k], b[k], sum[j][2 + e]);
        }
      }
    }
  }
}

// Of f32 one group after the other; and of one group alone.
template <int C, Start START, int GROUPS, int TILES>
__device__ __forceinline__ void add_scores(float (&sum)[GROUPS][TILES][4], const Left<float, C> (&left)[GROUPS], const Tile<float, C, 8 * TILES>& tile) {
#pragma unroll
  for (int r = 0; r < GROUPS; ++r) add_scores<C, START>(sum[r], left[r], tile);
}

template <int C, Start START, int TILES>
__device__ __forceinline__ void add_scores(float (&sum)[TILES][4], const Left<bf16, C>& left, const Tile<bf16, C, 8 * TILES>& tile) {
  add_scores<C, START>(as_group(sum), as_group(left), tile);
}

// Where f32 shows the weights of a warp to all its lanes; bf16 needs no room.
template <class T, int TILES>
struct Exchange {
  float (*rows)[8 * TILES + 4];
};

// sum[r] += weights[r] · tile: the weights lie as `add_scores` leaves its results.
template <int C, int GROUPS, int TILES>
__device__ __forceinline__ void add_weighted(float (&sum)[GROUPS][C / 8][4], const float (&weights)[GROUPS][TILES][4],
                                             const Tile<bf16, C, 8 * TILES>& tile, Exchange<bf16, TILES>) {
  const int lane = threadIdx.x % WARP_SIZE, matrix = lane / 8, line = lane % 8;
#pragma unroll
  for (int k = 0; k < TILES / 2; ++k) {
    unsigned a[GROUPS][4];
#pragma unroll
    for (int r = 0; r < GROUPS; ++r) {
      const float(&w)[4] = weights[r][2 * k], (&v)[4] = weights[r][2 * k + 1];
      a[r][0] = round_bf16_pair(w[0], w[1]), a[r][1] = round_bf16_pair(w[2], w[3]);
      a[r][2] = round_bf16_pair(v[0], v[1]), a[r][3] = round_bf16_pair(v[2], v[3]);
    }
#pragma unroll
    for (int pair = 0; pair < C / 16; ++pair) {
      unsigned b[4];
      load_matrices<true>(b, &tile[16 * k + matrix % 2 * 8 + line][16 * pair + matrix / 2 * 8]);
      const unsigned first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
#pragma unroll
      for (int r = 0; r < GROUPS; ++r) {
        mma_bf16(sum[r][2 * pair], a[r], first, sum[r][2 * pair]);
        mma_bf16(sum[r][2 * pair + 1], a[r], second, sum[r][2 * pair + 1]);
      }
    }
  }
}

template <int C, int TILES>
__device__ __forceinline__ void add_weighted(float (&sum)[C / 8][4], const float (&weights)[TILES][4], const Tile<float, C, 8 * TILES>& tile,
                                             Exchange<float, TILES> exchange) {
  const int g = threadIdx.x % WARP_SIZE / 4, t = threadIdx.x % 4;
  __syncwarp(); // the previous weights are no longer read
#pragma unroll
  for (int j = 0; j < TILES; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) exchange.rows[g + e / 2 * 8][8 * j + 2 * t + e % 2] = weights[j][e];
  }
  __syncwarp();
#pragma unroll 1
  for (int k = 0; k < 8 * TILES; ++k) {
    const float upper = exchange.rows[g][k], lower = exchange.rows[g + 8][k];
#pragma unroll
    for (int j = 0; j < C / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float b = tile[k][8 * j + 2 * t + e];
        sum[j][e] = fmaf(upper, b, sum[j][e]);
        sum[j][2 + e] = fmaf(lower, b, sum[j][2 + e]);
      }
    }
  }
}

template <int C, int GROUPS, int TILES>
__device__ __forceinline__ void add_weighted(float (&sum)[GROUPS][C / 8][4], const float (&weights)[GROUPS][TILES][4],
                                             const Tile<float, C, 8 * TILES>& tile, Exchange<float, TILES> exchange) {
#pragma unroll
  for (int r = 0; r < GROUPS; ++r) add_weighted<C>(sum[r], weights[r], tile, exchange);
}

template <int C, int TILES>
__device__ __forceinline__ void add_weighted(float (&sum)[C / 8][4], const float (&weights)[TILES][4], const Tile<bf16, C, 8 * TILES>& tile,
                                             Exchange<bf16, TILES> exchange) {
  add_weighted<C>(as_group(sum), as_group(weights), tile, exchange);
}

// The warp's rows of a result of `count` rows, each entry times the factor of its row.
template <class T, int TILES>
__device__ __forceinline__ void store_rows(const RowsOf<T>& to, int first, int count, int width, const float (&sum)[TILES][4], const float (&factor)[2]) {
  const int g = threadIdx.x % WARP_SIZE / 4, t = threadIdx.x % 4;
  const bool in_pairs = (reinterpret_cast<unsigned long long>(to.data) | static_cast<unsigned long long>(to.row) * sizeof(T)) % (2 * sizeof(T)) == 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first + g + 8 * half;
    if (row >= count) continue;
    T* const out = to.data + row * to.row + 2 * t;
    if (in_pairs && width > 8 * (TILES - 4) && width % 2 == 0) {
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
        if (j < TILES - 4 || 8 * j + 2 * t < width) store_two(out + 8 * j, {sum[j][2 * half] * factor[half], sum[j][2 * half + 1] * factor[half]});
      }
    } else {
#pragma unroll
      for (int j = 0; j < TILES; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (8 * j + 2 * t + e < width) store(out + 8 * j + e, sum[j][2 * half + e] * factor[half]);
        }
      }
    }
  }
}
