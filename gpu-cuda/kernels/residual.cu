// x + gate · branch, and the sums of its pullback over the rows that share a gate.
#include "space.cuh"
#include "warp.cuh"

template <class T>
__device__ __forceinline__ void gated_residual(const GatedResidualArgs& args) {
  pointwise<T, 3, 1>(args.space, {&args.x, &args.gate, &args.branch}, {static_cast<T*>(args.out)},
                     [](const float(&x)[3], float(&y)[1]) { y[0] = x[0] + x[1] * x[2]; });
}
KERNEL_OF_BOTH(gated_residual, GatedResidualArgs, POINTWISE_THREADS)

template <class T>
__device__ __forceinline__ void gated_residual_jvp(const GatedResidualArgs& args) {
  // A missing tangent adds nothing, even to an infinite factor.
  const bool gate = args.tgate.data != nullptr, branch = args.tbranch.data != nullptr;
  pointwise<T, 6, 2>(args.space, {&args.x, &args.gate, &args.branch, &args.tx, &args.tgate, &args.tbranch},
                     {static_cast<T*>(args.out), static_cast<T*>(args.tangent)}, [&](const float(&x)[6], float(&y)[2]) {
                       y[0] = x[0] + x[1] * x[2];
                       float sum = x[3];
                       if (gate) sum += x[4] * x[2];
                       if (branch) sum += x[1] * x[5];
                       y[1] = sum;
                     });
}
KERNEL_OF_BOTH(gated_residual_jvp, GatedResidualArgs, POINTWISE_THREADS)

// A lane has a vector of columns; the block's warps take the rows of a part in turns, four at a time.
template <class T>
__device__ __forceinline__ void gated_residual_vjp(const GatedResidualVjpArgs& args) {
  constexpr int N = LANES<T>, WARPS = POINTWISE_THREADS / WARP_SIZE, RUN = 4;
  SHARED(float, partial, [WARPS][N][WARP_SIZE]);
  const Space& space = args.space;
  const View* const views[1] = {&args.gate};
  const long long width = space.length[space.rank - 1], groups = space.elements / width / args.group;
  const long long vectors = width / N, across = (vectors + WARP_SIZE - 1) / WARP_SIZE;
  const GroupPart part(args.group);
  const Access access = access_of<T>(space, args.gate);
  const int lane = lane_of_thread(), warp = warp_of_thread();
  for (long long tile = blockIdx.x; tile < groups * across; tile += gridDim.x) {
    const long long i = tile / across, vector = tile % across * WARP_SIZE + lane;
    float sum[N] = {};
    if (vector < vectors) {
      long long offset[1];
      offsets(space, space.rank - 1, views, i * args.group, offset);
      const T* const row_of_gate = static_cast<const T*>(args.gate.data) + offset[0];
      float gate[N];
      expand(spread<T>(fetch_even(access == Access::Vector ? row_of_gate + vector * N : row_of_gate, access), access), gate);
      const long long first = i * args.group * width + vector * N;
      const T* const g = static_cast<const T*>(args.g) + first;
      const T* const branch = static_cast<const T*>(args.branch) + first;
      T* const gbranch = args.gbranch != nullptr ? static_cast<T*>(args.gbranch) + first : nullptr;
      for (long long row = part.first + RUN * warp; row < part.end; row += RUN * WARPS) {
        uint4 words[2][RUN];
#pragma unroll
        for (int r = 0; r < RUN; ++r) {
          const bool inside = row + r < part.end;
          words[0][r] = inside ? load_words(g + (row + r) * width) : make_uint4(0, 0, 0, 0);
          words[1][r] = inside ? load_words(branch + (row + r) * width) : make_uint4(0, 0, 0, 0);
        }
        float products[N][RUN];
#pragma unroll
        for (int r = 0; r < RUN; ++r) {
          float slope[N], other[N];
          expand(words[0][r], slope);
          expand(words[1][r], other);
#pragma unroll
          for (int k = 0; k < N; ++k) products[k][r] = slope[k] * other[k], slope[k] *= gate[k];
          if (gbranch != nullptr && row + r < part.end) store_lanes(gbranch + (row + r) * width, slope);
        }
#pragma unroll
        for (int k = 0; k < N; ++k) sum[k] += sum_of(products[k]);
      }
    }
    __syncthreads(); // the previous columns' readers are done
#pragma unroll
    for (int k = 0; k < N; ++k) partial[warp][k][lane] = sum[k];
    __syncthreads();
    if (warp < N && vector < vectors) {
      float total = 0.0f;
      for (int other = 0; other < WARPS; ++other) total += partial[other][warp][lane];
      args.sums[(blockIdx.y * groups + i) * width + vector * N + warp] = total;
    }
  }
}
KERNEL_RESIDENT(gated_residual_vjp_f32, GatedResidualVjpArgs, POINTWISE_THREADS, 3) { gated_residual_vjp<float>(args); }
KERNEL_RESIDENT(gated_residual_vjp_bf16, GatedResidualVjpArgs, POINTWISE_THREADS, 3) { gated_residual_vjp<bf16>(args); }
