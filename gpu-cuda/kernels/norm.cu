// Layer norm over rows, modulated by a scale and a shift that broadcast.
#include "space.cuh"
#include "warp.cuh"

// Half of other kernels of rows, so that a thread may have the registers of two rows that a warp holds.
constexpr int NORM_THREADS = 256;

// The contiguous rows of x.
struct NormRows {
  long long count, width;
  int last; // the axis of the columns
  __device__ __forceinline__ explicit NormRows(const Space& space)
      : count(space.elements / space.length[space.rank - 1]), width(space.length[space.rank - 1]), last(space.rank - 1) {}
};

// A row of an operand that is stretched over others, or of one that is missing.
template <class T>
struct StretchedRow {
  const T* data;
  long long stride;
  __device__ __forceinline__ StretchedRow(const Space& space, const View& view, long long row) : data(nullptr), stride(0) {
    if (view.data == nullptr) return;
    const View* const views[1] = {&view};
    long long offset[1];
    offsets(space, space.rank - 1, views, row, offset);
    data = static_cast<const T*>(view.data) + offset[0];
    stride = view.stride[space.rank - 1];
  }
  // `count` elements from `start` on; zeros where the operand is missing.
  __device__ __forceinline__ void load_at(long long start, int count, float (&out)[LANES<T>]) const {
    if (data == nullptr) {
#pragma unroll
      for (int lane = 0; lane < LANES<T>; ++lane) out[lane] = 0.0f;
    } else if (stride == 1 && count == LANES<T> && is_aligned(data + start)) {
      load_lanes(data + start, out);
    } else {
#pragma unroll
      for (int lane = 0; lane < LANES<T>; ++lane) out[lane] = lane < count ? load(data + (start + lane) * stride) : 0.0f;
    }
  }
};

// The mean of a row and 1/√(variance + ε), in every thread. The second pass finds the row in the cache.
template <class T>
__device__ __forceinline__ void moments(const T* row, long long width, float epsilon, float& mean, float& rate) {
  const float share = 1.0f / static_cast<float>(width);
  double sum = 0.0;
  for_row(row, width, [&](long long, int, const float(&x)[LANES<T>]) {
    float part = 0.0f;
#pragma unroll
    for (int lane = 0; lane < LANES<T>; ++lane) part += x[lane];
    sum += static_cast<double>(part);
  });
  const float average = static_cast<float>(fold_block(sum, 0.0, Sum())) * share;
  double squares = 0.0;
  for_row(row, width, [&](long long, int count, const float(&x)[LANES<T>]) {
    float part = 0.0f;
#pragma unroll
    for (int lane = 0; lane < LANES<T>; ++lane) part += lane < count ? (x[lane] - average) * (x[lane] - average) : 0.0f;
    squares += static_cast<double>(part);
  });
  mean = average;
  rate = 1.0f / sqrtf(static_cast<float>(fold_block(squares, 0.0, Sum())) * share + epsilon);
}

// A row for a warp: its mean, and 1/√(variance + ε).
template <class T, int H>
__device__ __forceinline__ void moments(const HeldRow<T, H>& x, long long width, float epsilon, float& mean, float& rate) {
  const float share = 1.0f / static_cast<float>(width);
  const float average = x.sum([](float v) { return v; }) * share;
  mean = average;
  rate = 1.0f / sqrtf(x.sum([&](float v) { return (v - average) * (v - average); }) * share + epsilon);
}

// K operands that are stretched over rows, vector by vector; zeros where they are missing.
template <class T, int K>
struct Modulation {
  const Space& space;
  const View* const (&views)[K];
  Access access[K];
  long long offset[K];
  bool even = true;    // all go by vectors or are the same along a row
  bool varies = false; // between rows
  __device__ __forceinline__ Modulation(const Space& space, const View* const (&views)[K]) : space(space), views(views) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      access[k] = access_of<T>(space, *views[k]);
      offset[k] = 0;
      even = even && access[k] != Access::Strided;
#pragma unroll 1
      for (int axis = 0; axis < space.rank - 1; ++axis) varies = varies || views[k]->stride[axis] != 0;
    }
  }
  __device__ __forceinline__ void go_to(long long row) {
    if (varies) offsets(space, space.rank - 1, views, row, offset);
  }
  __device__ __forceinline__ void load_at(int k, int vector, float (&out)[LANES<T>]) const {
    const T* const row = static_cast<const T*>(views[k]->data) + offset[k];
    expand(spread<T>(fetch_even(access[k] == Access::Vector ? row + vector * LANES<T> : row, access[k]), access[k]), out);
  }
};

// The vectors of each row if warps can take them, else 0.
template <class T, int K>
__device__ __forceinline__ int vectors_by_warps(const Modulation<T, K>& modulation, const void* const (&contiguous)[4]) {
  bool possible = modulation.even;
#pragma unroll
  for (int k = 0; k < 4; ++k) possible = possible && is_aligned(contiguous[k]);
  return possible ? held_vectors<T>(modulation.space.length[modulation.space.rank - 1]) : 0;
}

template <class T, int H>
__device__ __forceinline__ void layer_norm_by_warps(const LayerNormArgs& args, Modulation<T, 2> modulation, int vectors) {
  constexpr int N = LANES<T>;
  const NormRows rows(args.space);
  for (long long r = warp_start(); r < rows.count; r += warp_stride()) {
    const HeldRow<T, H> x(static_cast<const T*>(args.x) + r * rows.width, vectors);
    T* const out = static_cast<T*>(args.out) + r * rows.width;
    modulation.go_to(r);
    float mean, rate;
    moments(x, rows.width, args.epsilon, mean, rate);
    x.each([&](int h, const float(&v)[N]) {
      const int vector = x.number(h);
      if (vector >= vectors) return;
      float s[N], t[N], y[N];
      modulation.load_at(0, vector, s);
      modulation.load_at(1, vector, t);
#pragma unroll
      for (int lane = 0; lane < N; ++lane) y[lane] = (v[lane] - mean) * rate * (1.0f + s[lane]) + t[lane];
      store_lanes(out + vector * N, y);
    });
    if (lane_of_thread() == 0) {
      if (args.mean != nullptr) args.mean[r] = mean;
      if (args.rate != nullptr) args.rate[r] = rate;
    }
  }
}

template <class T>
__device__ __forceinline__ void layer_norm(const LayerNormArgs& args) {
  constexpr int N = LANES<T>;
  const View* const views[2] = {&args.scale, &args.shift};
  const Modulation<T, 2> modulation(args.space, views);
  if (const int vectors = vectors_by_warps(modulation, {args.x, args.out, nullptr, nullptr})) {
    if (vectors * N <= FEW_COLUMNS) return layer_norm_by_warps<T, HELD<T, FEW_COLUMNS>>(args, modulation, vectors);
    return layer_norm_by_warps<T, HELD<T, MOST_COLUMNS>>(args, modulation, vectors);
  }
  const NormRows rows(args.space);
  for (long long r = blockIdx.x; r < rows.count; r += gridDim.x) {
    const T* const x = static_cast<const T*>(args.x) + r * rows.width;
    T* const out = static_cast<T*>(args.out) + r * rows.width;
    const StretchedRow<T> scale(args.space, args.scale, r), shift(args.space, args.shift, r);
    float mean, rate;
    moments(x, rows.width, args.epsilon, mean, rate);
    for_row(x, rows.width, [&](long long start, int count, const float(&v)[N]) {
      float s[N], t[N], y[N];
      scale.load_at(start, count, s);
      shift.load_at(start, count, t);
#pragma unroll
      for (int lane = 0; lane < N; ++lane) y[lane] = (v[lane] - mean) * rate * (1.0f + s[lane]) + t[lane];
      store_part(out + start, count, y);
    });
    if (threadIdx.x == 0) {
      if (args.mean != nullptr) args.mean[r] = mean;
      if (args.rate != nullptr) args.rate[r] = rate;
    }
  }
}
KERNEL_RESIDENT(layer_norm_f32, LayerNormArgs, NORM_THREADS, 3) { layer_norm<float>(args); }
KERNEL_RESIDENT(layer_norm_bf16, LayerNormArgs, NORM_THREADS, 3) { layer_norm<bf16>(args); }

// avg h and avg h n of a row, where h = g (1 + scale) and n = (x − mean) rate.
template <class T>
__device__ __forceinline__ void projections(const T* x, const T* g, const StretchedRow<T>& scale, long long width, float mean, float rate, float& h_mean,
                                            float& hn_mean) {
  constexpr int N = LANES<T>;
  double h_sum = 0.0, hn_sum = 0.0;
  for_row(x, width, [&](long long start, int count, const float(&v)[N]) {
    float s[N], w[N], part = 0.0f, product = 0.0f;
    scale.load_at(start, count, s);
    load_part(g + start, count, w);
#pragma unroll
    for (int lane = 0; lane < N; ++lane) {
      const float h = w[lane] * (1.0f + s[lane]);
      part += h;
      product += lane < count ? h * ((v[lane] - mean) * rate) : 0.0f;
    }
    h_sum += static_cast<double>(part);
    hn_sum += static_cast<double>(product);
  });
  const float share = 1.0f / static_cast<float>(width);
  h_mean = static_cast<float>(fold_block(h_sum, 0.0, Sum())) * share;
  hn_mean = static_cast<float>(fold_block(hn_sum, 0.0, Sum())) * share;
}

// As `projections`, for a warp; `scale` is operand 0 of the modulation, and counts as 0 unless `scaled`.
template <class T, int H, int K>
__device__ __forceinline__ void projections(const HeldRow<T, H>& x, const HeldRow<T, H>& g, const Modulation<T, K>& modulation, bool scaled, long long width,
                                            float mean, float rate, float& h_mean, float& hn_mean) {
  constexpr int N = LANES<T>;
  float h_sum = 0.0f, hn_sum = 0.0f;
  x.each([&](int index, const float(&v)[N]) {
    if (x.number(index) >= x.vectors) return;
    float s[N], part[N], product[N];
    expand(g.words[index], part);
    if (scaled) {
      modulation.load_at(0, x.number(index), s);
#pragma unroll
      for (int lane = 0; lane < N; ++lane) part[lane] *= 1.0f + s[lane];
    }
#pragma unroll
    for (int lane = 0; lane < N; ++lane) product[lane] = part[lane] * ((v[lane] - mean) * rate);
    h_sum += sum_of(part);
    hn_sum += sum_of(product);
  });
  const float share = 1.0f / static_cast<float>(width);
  h_mean = fold_warp(h_sum, Sum()) * share;
  hn_mean = fold_warp(hn_sum, Sum()) * share;
}

// The pullback of row r by a warp: writes gx unless it is missing, and calls visit(this lane's vector h, its number in the row, g, n).
template <class T, int H, class Visit>
__device__ __forceinline__ void pull_row(const LayerNormArgs& args, const Modulation<T, 1>& modulation, long long r, long long width, int vectors, Visit visit) {
  constexpr int N = LANES<T>;
  const HeldRow<T, H> x(static_cast<const T*>(args.x) + r * width, vectors), g(static_cast<const T*>(args.g) + r * width, vectors);
  const float mean = args.mean[r], rate = args.rate[r];
  float h_mean = 0.0f, hn_mean = 0.0f;
  if (args.gx != nullptr) projections(x, g, modulation, true, width, mean, rate, h_mean, hn_mean);
  x.each([&](int h, float(&n)[N]) {
    const int vector = x.number(h);
    if (vector >= vectors) return;
    float s[N], w[N], gx[N];
    modulation.load_at(0, vector, s);
    expand(g.words[h], w);
#pragma unroll
    for (int lane = 0; lane < N; ++lane) {
      n[lane] = (n[lane] - mean) * rate;
      gx[lane] = rate * (w[lane] * (1.0f + s[lane]) - h_mean - n[lane] * hn_mean);
    }
    if (args.gx != nullptr) store_lanes(static_cast<T*>(args.gx) + r * width + vector * N, gx);
    visit(h, vector, w, n);
  });
}

template <class T, int H>
__device__ __forceinline__ void layer_norm_vjp_by_warps(const LayerNormArgs& args, Modulation<T, 1> modulation, int vectors) {
  constexpr int N = LANES<T>;
  const NormRows rows(args.space);
  for (long long r = warp_start(); r < rows.count; r += warp_stride()) {
    modulation.go_to(r);
    pull_row<T, H>(args, modulation, r, rows.width, vectors, [&](int, int vector, const float(&g)[N], const float(&n)[N]) {
      float gscale[N];
#pragma unroll
      for (int lane = 0; lane < N; ++lane) gscale[lane] = g[lane] * n[lane];
      if (args.gscale != nullptr) store_lanes(static_cast<T*>(args.gscale) + r * rows.width + vector * N, gscale);
    });
  }
}

template <class T>
__device__ __forceinline__ void layer_norm_vjp(const LayerNormArgs& args) {
  constexpr int N = LANES<T>;
  const View* const views[1] = {&args.scale};
  const Modulation<T, 1> modulation(args.space, views);
  if (const int vectors = vectors_by_warps(modulation, {args.x, args.g, args.gx, args.gscale})) {
    if (vectors * N <= FEW_COLUMNS) return layer_norm_vjp_by_warps<T, HELD<T, FEW_COLUMNS>>(args, modulation, vectors);
    return layer_norm_vjp_by_warps<T, HELD<T, MOST_COLUMNS>>(args, modulation, vectors);
  }
  const NormRows rows(args.space);
  for (long long r = blockIdx.x; r < rows.count; r += gridDim.x) {
    const T* const x = static_cast<const T*>(args.x) + r * rows.width;
    const T* const g = static_cast<const T*>(args.g) + r * rows.width;
    const StretchedRow<T> scale(args.space, args.scale, r);
    const float mean = args.mean[r], rate = args.rate[r];
    float h_mean = 0.0f, hn_mean = 0.0f;
    if (args.gx != nullptr) projections(x, g, scale, rows.width, mean, rate, h_mean, hn_mean);
    for_row(x, rows.width, [&](long long start, int count, const float(&v)[N]) {
      float s[N], w[N], gx[N], gs[N];
      scale.load_at(start, count, s);
      load_part(g + start, count, w);
#pragma unroll
      for (int lane = 0; lane < N; ++lane) {
        const float n = (v[lane] - mean) * rate;
        gx[lane] = rate * (w[lane] * (1.0f + s[lane]) - h_mean - n * hn_mean);
        gs[lane] = w[lane] * n;
      }
      if (args.gx != nullptr) store_part(static_cast<T*>(args.gx) + r * rows.width + start, count, gx);
      if (args.gscale != nullptr) store_part(static_cast<T*>(args.gscale) + r * rows.width + start, count, gs);
    });
  }
}
KERNEL_RESIDENT(layer_norm_vjp_f32, LayerNormArgs, NORM_THREADS, 2) { layer_norm_vjp<float>(args); }
KERNEL_RESIDENT(layer_norm_vjp_bf16, LayerNormArgs, NORM_THREADS, 2) { layer_norm_vjp<bf16>(args); }

// A block's warps take the rows of a part in turns; each lane keeps the sums of its columns.
constexpr int SUMS_THREADS = 128;
template <class T, int H>
__device__ __forceinline__ void layer_norm_vjp_sums(const LayerNormArgs& args) {
  constexpr int N = LANES<T>, WARPS = SUMS_THREADS / WARP_SIZE, COLUMNS = H * N * WARP_SIZE;
  SHARED(float, partial, [WARPS][COLUMNS]);
  const NormRows rows(args.space);
  const View* const views[1] = {&args.scale};
  Modulation<T, 1> modulation(args.space, views);
  const long long groups = rows.count / args.group;
  const int vectors = static_cast<int>(rows.width / N), warp = warp_of_thread(), width = static_cast<int>(rows.width);
  const GroupPart part(args.group);
  for (long long i = blockIdx.x; i < groups; i += gridDim.x) {
    modulation.go_to(i * args.group);
    float sums[2][H][N] = {};
    for (long long row = part.first + warp; row < part.end; row += WARPS) {
      pull_row<T, H>(args, modulation, i * args.group + row, rows.width, vectors, [&](int h, int, const float(&g)[N], const float(&n)[N]) {
#pragma unroll
        for (int lane = 0; lane < N; ++lane) sums[0][h][lane] += g[lane] * n[lane], sums[1][h][lane] += g[lane];
      });
    }
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      __syncthreads(); // the previous sums' readers are done
#pragma unroll
      for (int h = 0; h < H; ++h) {
#pragma unroll
        for (int lane = 0; lane < N; ++lane) partial[warp][HeldRow<T, H>::number(h) * N + lane] = sums[which][h][lane];
      }
      __syncthreads();
      float* const out = args.sums + ((blockIdx.y * 2 + which) * groups + i) * rows.width;
      for (int column = threadIdx.x; column < width; column += SUMS_THREADS) {
        float total = 0.0f;
#pragma unroll
        for (int other = 0; other < WARPS; ++other) total += partial[other][column];
        out[column] = total;
      }
    }
  }
}
template <class T>
__device__ __forceinline__ void layer_norm_vjp_sums(const LayerNormArgs& args) {
  if (args.space.length[args.space.rank - 1] <= FEW_COLUMNS) return layer_norm_vjp_sums<T, HELD<T, FEW_COLUMNS>>(args);
  layer_norm_vjp_sums<T, HELD<T, MOST_COLUMNS>>(args);
}
KERNEL_RESIDENT(layer_norm_vjp_sums_f32, LayerNormArgs, SUMS_THREADS, 2) { layer_norm_vjp_sums<float>(args); }
KERNEL_RESIDENT(layer_norm_vjp_sums_bf16, LayerNormArgs, SUMS_THREADS, 3) { layer_norm_vjp_sums<bf16>(args); }

template <class T, int H>
__device__ __forceinline__ void layer_norm_jvp_by_warps(const LayerNormArgs& args, Modulation<T, 4> modulation, int vectors) {
  constexpr int N = LANES<T>;
  const NormRows rows(args.space);
  const bool moves = args.tx != nullptr, scale_moves = args.tscale.data != nullptr;
  for (long long r = warp_start(); r < rows.count; r += warp_stride()) {
    const HeldRow<T, H> x(static_cast<const T*>(args.x) + r * rows.width, vectors);
    const HeldRow<T, H> tx(static_cast<const T*>(args.tx) + (moves ? r * rows.width : 0), moves ? vectors : 0);
    modulation.go_to(r);
    float mean, rate, t_mean = 0.0f, tn_mean = 0.0f;
    moments(x, rows.width, args.epsilon, mean, rate);
    if (moves) projections(x, tx, modulation, false, rows.width, mean, rate, t_mean, tn_mean);
    x.each([&](int h, const float(&v)[N]) {
      const int vector = x.number(h);
      if (vector >= vectors) return;
      float s[N], shifted[N], w[N], ts[N], y[N], tangent[N];
      modulation.load_at(0, vector, s);
      modulation.load_at(1, vector, shifted);
      modulation.load_at(2, vector, ts);
      modulation.load_at(3, vector, tangent);
      expand(tx.words[h], w);
#pragma unroll
      for (int lane = 0; lane < N; ++lane) {
        const float n = (v[lane] - mean) * rate;
        y[lane] = n * (1.0f + s[lane]) + shifted[lane];
        if (scale_moves) tangent[lane] += n * ts[lane];
        if (moves) tangent[lane] += (1.0f + s[lane]) * (rate * (w[lane] - t_mean - n * tn_mean));
      }
      store_lanes(static_cast<T*>(args.out) + r * rows.width + vector * N, y);
      store_lanes(static_cast<T*>(args.tangent) + r * rows.width + vector * N, tangent);
    });
  }
}

template <class T>
__device__ __forceinline__ void layer_norm_jvp(const LayerNormArgs& args) {
  constexpr int N = LANES<T>;
  const View* const views[4] = {&args.scale, &args.shift, &args.tscale, &args.tshift};
  const Modulation<T, 4> modulation(args.space, views);
  if (const int vectors = vectors_by_warps(modulation, {args.x, args.tx, args.out, args.tangent})) {
    if (vectors * N <= FEW_COLUMNS) return layer_norm_jvp_by_warps<T, HELD<T, FEW_COLUMNS>>(args, modulation, vectors);
    return layer_norm_jvp_by_warps<T, HELD<T, MOST_COLUMNS>>(args, modulation, vectors);
  }
  const NormRows rows(args.space);
  const View none = {};
  for (long long r = blockIdx.x; r < rows.count; r += gridDim.x) {
    const T* const x = static_cast<const T*>(args.x) + r * rows.width;
    const T* const tx = args.tx != nullptr ? static_cast<const T*>(args.tx) + r * rows.width : nullptr;
    const StretchedRow<T> scale(args.space, args.scale, r), shift(args.space, args.shift, r);
    const StretchedRow<T> tscale(args.space, args.tscale, r), tshift(args.space, args.tshift, r), ones(args.space, none, r);
    float mean, rate, t_mean = 0.0f, tn_mean = 0.0f;
    moments(x, rows.width, args.epsilon, mean, rate);
    if (tx != nullptr) projections(x, tx, ones, rows.width, mean, rate, t_mean, tn_mean);
    for_row(x, rows.width, [&](long long start, int count, const float(&v)[N]) {
      float s[N], shifted[N], w[N], ts[N], y[N], tangent[N];
      scale.load_at(start, count, s);
      shift.load_at(start, count, shifted);
      tscale.load_at(start, count, ts);
      tshift.load_at(start, count, tangent);
      if (tx != nullptr) load_part(tx + start, count, w);
#pragma unroll
      for (int lane = 0; lane < N; ++lane) {
        const float n = (v[lane] - mean) * rate;
        y[lane] = n * (1.0f + s[lane]) + shifted[lane];
        if (tscale.data != nullptr) tangent[lane] += n * ts[lane];
        if (tx != nullptr) tangent[lane] += (1.0f + s[lane]) * (rate * (w[lane] - t_mean - n * tn_mean));
      }
      store_part(static_cast<T*>(args.out) + r * rows.width + start, count, y);
      store_part(static_cast<T*>(args.tangent) + r * rows.width + start, count, tangent);
    });
  }
}
KERNEL(layer_norm_jvp_f32, LayerNormArgs, NORM_THREADS) { layer_norm_jvp<float>(args); }
KERNEL(layer_norm_jvp_bf16, LayerNormArgs, NORM_THREADS) { layer_norm_jvp<bf16>(args); }
