// Products of small matrices within a warp, for attention: 16 rows of a left operand, held by the warp, with rows of a tile in shared memory.
// Results lie as the tensor cores leave them: lane 4g + t holds, of each 8 columns, the columns 2t and 2t + 1 of row g, then of row g + 8.
// bf16 goes by the tensor cores; f32 by multiply-adds in the same places.
#pragma once

#include "space.cuh"

constexpr int ATTENTION_THREADS = 128;
constexpr int ATTENTION_ROWS = 64; // of a block: 16 of each warp

// The columns of a tile in memory, so that neighbouring rows start in different banks.
template <class T, int C>
constexpr int PITCH = C + LANES<T>;

// Rows in shared memory.
template <class T, int C, int ROWS>
using Tile = T[ROWS][PITCH<T, C>];

// Rows of `width` numbers, `row` apart; none if data is 0.
template <class T>
struct RowsOf {
  const T* data;
  long long row;
  int count, width;
  bool vectors; // 16 bytes at once

  __device__ __forceinline__ RowsOf(const T* data, long long row, int count, int width)
      : data(data), row(row), count(count), width(width), vectors(is_aligned(data) && row % LANES<T> == 0 && width % LANES<T> == 0) {}

  // Batch entry `entry` of an operand.
  __device__ __forceinline__ RowsOf(const Space& batch, const Rows& rows, long long entry, int count, int width)
      : RowsOf(rows.batch.data == nullptr ? nullptr : static_cast<const T*>(rows.batch.data) + offset_of(batch, rows.batch, entry), rows.row, count, width) {}
};

// Begins to load ROWS rows from `first` on, with zeros after the last row and the last column; `wait_for_copies` ends it. All threads of the block take part.
template <int C, class T, int ROWS>
__device__ __forceinline__ void begin_tile(Tile<T, C, ROWS>& tile, const RowsOf<T>& source, int first) {
  constexpr int N = LANES<T>, ACROSS = C / N, STEP = ATTENTION_THREADS / ACROSS;
  const int column = threadIdx.x % ACROSS * N, top = threadIdx.x / ACROSS;
  if (top >= STEP) return;
  const T* from = source.data + (first + top) * source.row + column;
#pragma unroll
  for (int i = 0; i < ROWS; i += STEP, from += STEP * source.row) {
    const int r = top + i;
    if (ROWS % STEP != 0 && r >= ROWS) break;
    const bool inside = first + r < source.count && column < source.width;
    if (source.vectors) {
      begin_copy<16>(&tile[r][column], from, inside);
    } else {
#pragma unroll
      for (int k = 0; k < N; ++k) tile[r][column + k] = inside && column + k < source.width ? from[k] : T{};
    }
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

  __device__ __forceinline__ Left(const RowsOf<bf16>& source, int first) {
    const int g = threadIdx.x % WARP_SIZE / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int k = 0; k < C / 16; ++k) {
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int row = first + g + part % 2 * 8;
        const int column = 16 * k + 2 * t + part / 2 * 8;
        const bool inside = source.data != nullptr && row < source.count;
        const bf16* const from = source.data + row * source.row + column;
        unsigned word = 0;
        if (inside && source.vectors) {
          if (column < source.width) word = *reinterpret_cast<const unsigned*>(from);
        } else if (inside) {
          if (column < source.width) word = from[0].bits;
          if (column + 1 < source.width) word |= static_cast<unsigned>(from[1].bits) << 16;
        }
        a[k][part] = word;
      }
    }
  }
};

template <int C>
struct Left<float, C> {
  const float* rows[2]; // g and g + 8; 0 beyond the last
  int width;
  bool vectors;

  __device__ __forceinline__ Left(const RowsOf<float>& source, int first) : width(source.width), vectors(source.vectors) {
    const int g = threadIdx.x % WARP_SIZE / 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + g + 8 * half;
      rows[half] = source.data != nullptr && row < source.count ? source.data + row * source.row : nullptr;
    }
  }

  __device__ __forceinline__ void load_at(int half, int column, float (&out)[4]) const {
    if (rows[half] != nullptr && vectors && column < width) {
      load_lanes(rows[half] + column, out);
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k) out[k] = rows[half] != nullptr && column + k < width ? rows[half][column + k] : 0.0f;
    }
  }
};

// sum[j] += left · tileᵀ: one column for each row of the tile.
template <int C, int TILES>
__device__ __forceinline__ void add_scores(float (&sum)[TILES][4], const Left<bf16, C>& left, const Tile<bf16, C, 8 * TILES>& tile) {
  const int lane = threadIdx.x % WARP_SIZE, matrix = lane / 8, line = lane % 8;
#pragma unroll
  for (int k = 0; k < C / 16; ++k) {
#pragma unroll
    for (int pair = 0; pair < TILES / 2; ++pair) {
      unsigned b[4];
      load_matrices<false>(b, &tile[16 * pair + matrix / 2 * 8 + line][16 * k + matrix % 2 * 8]);
      const unsigned first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
      mma_bf16(sum[2 * pair], left.a[k], first);
      mma_bf16(sum[2 * pair + 1], left.a[k], second);
    }
  }
}

template <int C, int TILES>
__device__ __forceinline__ void add_scores(float (&sum)[TILES][4], const Left<float, C>& left, const Tile<float, C, 8 * TILES>& tile) {
  const int t = threadIdx.x % 4;
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

// Where f32 shows the weights of a warp to all its lanes; bf16 needs no room.
template <class T, int TILES>
struct Exchange {
  float (*rows)[8 * TILES + 4];
};

// sum += weights · tile: the weights lie as `add_scores` leaves its results.
template <int C, int TILES>
__device__ __forceinline__ void add_weighted(float (&sum)[C / 8][4], const float (&weights)[TILES][4], const Tile<bf16, C, 8 * TILES>& tile,
                                             Exchange<bf16, TILES>) {
  const int lane = threadIdx.x % WARP_SIZE, matrix = lane / 8, line = lane % 8;
#pragma unroll
  for (int k = 0; k < TILES / 2; ++k) {
    const float(&w)[4] = weights[2 * k], (&v)[4] = weights[2 * k + 1];
    const unsigned a[4] = {round_bf16_pair(w[0], w[1]), round_bf16_pair(w[2], w[3]), round_bf16_pair(v[0], v[1]), round_bf16_pair(v[2], v[3])};
#pragma unroll
    for (int pair = 0; pair < C / 16; ++pair) {
      unsigned b[4];
      load_matrices<true>(b, &tile[16 * k + matrix % 2 * 8 + line][16 * pair + matrix / 2 * 8]);
      const unsigned first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
      mma_bf16(sum[2 * pair], a, first);
      mma_bf16(sum[2 * pair + 1], a, second);
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

// The warp's rows of a contiguous result of `count` rows, each entry times the factor of its row.
template <class T, int TILES>
__device__ __forceinline__ void store_rows(T* out, int first, int count, int width, const float (&sum)[TILES][4], const float (&factor)[2]) {
  const int g = threadIdx.x % WARP_SIZE / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first + g + 8 * half;
    if (row >= count) continue;
#pragma unroll
    for (int j = 0; j < TILES; ++j) {
      const int column = 8 * j + 2 * t;
      const float pair[2] = {sum[j][2 * half] * factor[half], sum[j][2 * half + 1] * factor[half]};
      if (column + 1 < width) {
        store_pair(out + static_cast<long long>(row) * width + column, pair);
      } else if (column < width) {
        store(out + static_cast<long long>(row) * width + column, pair[0]);
      }
    }
  }
}
