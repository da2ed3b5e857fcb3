// Numbers in memory: f32 or bf16, one at a time or 16 bytes at once. Arithmetic is in f32.
#pragma once

#include "device.cuh"

struct bf16 {
  unsigned short bits;
};

__device__ __forceinline__ float bf16_low(unsigned word) { return __uint_as_float(word << 16); }
__device__ __forceinline__ float bf16_high(unsigned word) { return __uint_as_float(word & 0xffff0000u); }

__device__ __forceinline__ float load(const float* p) { return *p; }
__device__ __forceinline__ float load(const bf16* p) { return bf16_low(p->bits); }
__device__ __forceinline__ void store(float* p, float value) { *p = value; }
__device__ __forceinline__ void store(bf16* p, float value) { p->bits = round_bf16(value); }

// How many elements 16 bytes hold.
template <class T>
constexpr int LANES = 16 / sizeof(T);

__device__ __forceinline__ bool is_aligned(const void* p) { return (reinterpret_cast<unsigned long long>(p) & 15) == 0; }

// 16 bytes as they are in memory, at a multiple of 16. Those who load several before they expand the first wait for memory once.
__device__ __forceinline__ uint4 load_words(const void* p) { return *reinterpret_cast<const uint4*>(p); }
__device__ __forceinline__ void expand(const uint4& v, float (&out)[4]) {
  out[0] = __uint_as_float(v.x), out[1] = __uint_as_float(v.y), out[2] = __uint_as_float(v.z), out[3] = __uint_as_float(v.w);
}
__device__ __forceinline__ void expand(const uint4& v, float (&out)[8]) {
  out[0] = bf16_low(v.x), out[1] = bf16_high(v.x), out[2] = bf16_low(v.y), out[3] = bf16_high(v.y);
  out[4] = bf16_low(v.z), out[5] = bf16_high(v.z), out[6] = bf16_low(v.w), out[7] = bf16_high(v.w);
}

// 16 bytes at once; the address is a multiple of 16.
template <class T>
__device__ __forceinline__ void load_lanes(const T* p, float (&out)[LANES<T>]) {
  expand(load_words(p), out);
}
__device__ __forceinline__ void store_lanes(float* p, const float (&v)[4]) { *reinterpret_cast<float4*>(p) = float4{v[0], v[1], v[2], v[3]}; }
__device__ __forceinline__ void store_lanes(bf16* p, const float (&v)[8]) {
  *reinterpret_cast<uint4*>(p) =
      make_uint4(round_bf16_pair(v[0], v[1]), round_bf16_pair(v[2], v[3]), round_bf16_pair(v[4], v[5]), round_bf16_pair(v[6], v[7]));
}

// Four elements as they are in memory, at once; the address is a multiple of them.
__device__ __forceinline__ uint4 load_four(const float* p) { return *reinterpret_cast<const uint4*>(p); }
__device__ __forceinline__ uint2 load_four(const bf16* p) { return *reinterpret_cast<const uint2*>(p); }
__device__ __forceinline__ void expand(const uint2& v, float (&out)[4]) {
  out[0] = bf16_low(v.x), out[1] = bf16_high(v.x), out[2] = bf16_low(v.y), out[3] = bf16_high(v.y);
}
__device__ __forceinline__ void store_four(float* p, const float (&v)[4]) { store_lanes(p, v); }
__device__ __forceinline__ void store_four(bf16* p, const float (&v)[4]) {
  *reinterpret_cast<uint2*>(p) = uint2{round_bf16_pair(v[0], v[1]), round_bf16_pair(v[2], v[3])};
}

// `count` ≤ N elements one at a time.
template <int N, class T>
__device__ __forceinline__ void load_some(const T* p, int count, float (&out)[N]) {
#pragma unroll
  for (int k = 0; k < N; ++k) out[k] = k < count ? load(p + k) : 0.0f;
}
template <int N, class T>
__device__ __forceinline__ void store_some(T* p, int count, const float (&v)[N]) {
#pragma unroll
  for (int k = 0; k < N; ++k) {
    if (k < count) store(p + k, v[k]);
  }
}

// LANES elements, or `count` of them where a row ends or is not aligned.
template <class T>
__device__ __forceinline__ void store_part(T* p, int count, const float (&v)[LANES<T>]) {
  if (count == LANES<T> && is_aligned(p)) {
    store_lanes(p, v);
  } else {
    store_some(p, count, v);
  }
}
template <class T>
__device__ __forceinline__ void load_part(const T* p, int count, float (&out)[LANES<T>]) {
  if (count == LANES<T> && is_aligned(p)) {
    load_lanes(p, out);
  } else {
    load_some(p, count, out);
  }
}

// Two neighbours at once; the address is a multiple of both.
__device__ __forceinline__ void store_two(float* p, const float (&v)[2]) { *reinterpret_cast<float2*>(p) = float2{v[0], v[1]}; }
__device__ __forceinline__ void store_two(bf16* p, const float (&v)[2]) { *reinterpret_cast<unsigned*>(p) = round_bf16_pair(v[0], v[1]); }

// Two neighbours, at once where the address allows.
template <class T>
__device__ __forceinline__ void store_pair(T* p, const float (&v)[2]) {
  if (reinterpret_cast<unsigned long long>(p) % (2 * sizeof(T)) == 0) {
    store_two(p, v);
  } else {
    store(p, v[0]), store(p + 1, v[1]);
  }
}
