// What differs between CUDA and the host: how a kernel and a shared array are written, and the instructions that have no name in C++.
// On the host, host/emulator.hpp is included before.
#pragma once

#include "abi.h"

#define ALL_LANES 0xffffffffu
constexpr int WARP_SIZE = 32;

#ifdef __CUDACC__

#define KERNEL(name, Args, threads) KERNEL_RESIDENT(name, Args, threads, 1)
// A kernel whose registers let so many blocks be on a multiprocessor at once.
#define KERNEL_RESIDENT(name, Args, threads, blocks) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Args args)
#define SHARED(T, name, ...) __shared__ __align__(16) T name __VA_ARGS__ // the extent

// bf16 bits of a float, to nearest even.
__device__ __forceinline__ unsigned short round_bf16(float value) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

// Two numbers as bf16 in one word, the first in the lower half.
__device__ __forceinline__ unsigned round_bf16_pair(float low, float high) {
  unsigned word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}

// e^(x ln 2), to 2^-22 of the result.
__device__ __forceinline__ float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 1/x to a unit in the last place.
__device__ __forceinline__ float fast_reciprocal(float x) {
  float y;
  asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// √x to a unit in the last place.
__device__ __forceinline__ float fast_sqrt(float x) {
  float y;
  asm("sqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Begins a copy of BYTES (4 or 16) to shared memory, of zeros unless `inside`; `wait_for_copies` ends it.
template <int BYTES>
__device__ __forceinline__ void begin_copy(void* to, const void* from, bool inside) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int size = inside ? BYTES : 0;
  if (BYTES == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(size) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from), "r"(size) : "memory");
  }
}
// Until this thread's copies are there; other threads see them after a barrier.
__device__ __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// d = c + a b of a 16 × 16 and a 16 × 8 matrix.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
               : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

// Four 8 × 8 matrices of 16-bit numbers from shared memory, whose rows the lanes name: matrices 0, 1, 2, 3 by lanes 0–7, 8–15, 16–23, 24–31.
template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrices(unsigned (&out)[4], const void* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if (TRANSPOSED) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
  }
}

#else

inline unsigned short round_bf16(float value) { return host::round_bf16(value); }
inline unsigned round_bf16_pair(float low, float high) { return host::round_bf16(low) | unsigned(host::round_bf16(high)) << 16; }
inline float fast_exp2(float x) { return exp2f(x); }
inline float fast_reciprocal(float x) { return 1.0f / x; }
inline float fast_sqrt(float x) { return sqrtf(x); }
template <int BYTES>
inline void begin_copy(void* to, const void* from, bool inside) {
  host::begin_copy(to, inside ? from : nullptr, BYTES);
}
inline void wait_for_copies() { host::wait_for_copies(); }
inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4]) { host::mma_bf16(d, a, b, c); }
template <bool TRANSPOSED>
inline void load_matrices(unsigned (&out)[4], const void* row) {
  host::load_matrices(out, row, TRANSPOSED);
}

#endif

// The first element or block of this thread in a loop over the grid's x, and the loop's step.
__device__ __forceinline__ long long grid_start() { return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ long long grid_stride() { return static_cast<long long>(gridDim.x) * blockDim.x; }

constexpr int POINTWISE_THREADS = 256;
constexpr int ROW_THREADS = 512;

// A kernel for both types of storage, from a function template over the type.
#define KERNEL_OF_BOTH(name, Args, threads)          \
  KERNEL(name##_f32, Args, threads) { name<float>(args); } \
  KERNEL(name##_bf16, Args, threads) { name<bf16>(args); }
