// What the kernels need of CUDA, for a host compiler; included before every kernel source (-include). The rest is device.cuh.
#pragma once

#include "machine.hpp"

#include <cmath>

#define __device__
#define __forceinline__ inline __attribute__((always_inline))

#define HOST_PLACE(what)                                             \
  ([]() -> const ::host::Place& {                                    \
    static constexpr ::host::Place place{what, __FILE__, __LINE__};  \
    return place;                                                    \
  }())

#define threadIdx (::host::current->index)
#define blockIdx (::host::block_index)
#define blockDim (::host::block_size)
#define gridDim (::host::grid_size)

#define __syncthreads() ::host::wait_for_block(HOST_PLACE("__syncthreads"))
#define __syncwarp() ::host::wait_for_warp(0xffffffffu, HOST_PLACE("__syncwarp"))
#define __shfl_xor_sync(mask, value, distance) \
  ::host::exchange(mask, value, ::host::current->lane ^ (distance), HOST_PLACE("__shfl_xor_sync"))
#define __any_sync(mask, value) ::host::any(mask, value, HOST_PLACE("__any_sync"))

// A kernel: its name, its argument's type, and the most threads of a block. The body sees `args`.
#define KERNEL(name, Args, threads)                                                                                                     \
  static void name(const Args& args);                                                                                                   \
  static const ::host::Registration name##_registration(#name, sizeof(Args), threads,                                             \
                                                          [](const void* p) { name(*static_cast<const Args*>(p)); });                   \
  static void name(const Args& args)

#define KERNEL_RESIDENT(name, Args, threads, blocks) KERNEL(name, Args, threads)

// An array that the block shares: SHARED(float, tile, [32][33]).
#define SHARED(T, name, ...) /* the extent */                                                                                           \
  using name##_type = T __VA_ARGS__;                                                                                                    \
  static char name##_key;                                                                                                               \
  name##_type& name = *static_cast<name##_type*>(::host::shared_array(&name##_key, sizeof(name##_type), HOST_PLACE("shared memory")))

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(8) float2 {
  float x, y;
};

inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline void sincospi(double x, double* sine, double* cosine) {
  const double angle = 3.14159265358979323846 * x;
  *sine = sin(angle), *cosine = cos(angle);
}

namespace host {

inline bool any(unsigned mask, bool value, const Place& place) {
  const Slot* const slots = gather_lanes(value, mask, place);
  bool found = false;
  for (int lane = 0; lane < WARP; ++lane) found = found || ((current->warp->present & mask) >> lane & 1 && slots[lane].bytes[0] != 0);
  return found;
}

// bf16 bits of a float, to nearest even; any NaN becomes 0x7fff, as on the device.
inline unsigned short round_bf16(float value) {
  const unsigned bits = __float_as_uint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<unsigned short>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

inline void begin_copy(void* to, const void* from, std::size_t bytes) {
  const Place& place = HOST_PLACE("cp.async");
  if (reinterpret_cast<std::uintptr_t>(to) % bytes != 0 || reinterpret_cast<std::uintptr_t>(from) % bytes != 0) fault("is not aligned to its size", place);
  current->copies.push_back({to, from, bytes});
}
inline void wait_for_copies() {
  for (const Copy& copy : current->copies) {
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, copy.bytes);
    } else {
      std::memset(copy.to, 0, copy.bytes);
    }
  }
  current->copies.clear();
}

inline float high_half(unsigned word) { return __uint_as_float(word & 0xffff0000u); }
inline float low_half(unsigned word) { return __uint_as_float(word << 16); }

// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32: d = c + a b. Lane 4g + t holds of a the rows g, g + 8 and the columns 2t.. and 2t + 8..,
// of b (k × n) the rows 2t.. and 2t + 8.. of column g, of d the rows g, g + 8 and columns 2t, 2t + 1 (PTX ISA, "Matrix fragments for mma.m16n8k16").
inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4]) {
  const Place& place = HOST_PLACE("mma.m16n8k16");
  struct A { unsigned word[4]; } mine{{a[0], a[1], a[2], a[3]}};
  struct B { unsigned word[2]; } other{{b[0], b[1]}};
  const int g = current->lane >> 2, t = current->lane & 3;
  A left[4];
  B right[2][4];
  const Slot* slots = gather_lanes(mine, 0xffffffffu, place);
  for (int pair = 0; pair < 4; ++pair) std::memcpy(&left[pair], slots[4 * g + pair].bytes, sizeof(A));
  slots = gather_lanes(other, 0xffffffffu, place);
  for (int i = 0; i < 2; ++i) {
    for (int pair = 0; pair < 4; ++pair) std::memcpy(&right[i][pair], slots[4 * (2 * t + i) + pair].bytes, sizeof(B));
  }
  for (int i = 0; i < 4; ++i) {
    const int row_half = i >> 1, column = i & 1;
    double sum = c[i];
    for (int half = 0; half < 2; ++half) {
      for (int pair = 0; pair < 4; ++pair) {
        const unsigned x = left[pair].word[row_half + 2 * half], y = right[column][pair].word[half];
        sum += static_cast<double>(low_half(x)) * low_half(y) + static_cast<double>(high_half(x)) * high_half(y);
      }
    }
    d[i] = static_cast<float>(sum);
  }
}

// ldmatrix.sync.aligned.m8n8.x4[.trans].shared.b16: lane 8m + r gives the address of row r of matrix m; lane 4g + t gets of each matrix the words
// of row g at the columns 2t, 2t + 1 (transposed: rows 2t, 2t + 1 of column g).
inline void load_matrices(unsigned (&out)[4], const void* row, bool transposed) {
  const Place& place = HOST_PLACE("ldmatrix");
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) fault("is given an address that is not a multiple of 16", place);
  const Slot* const slots = gather_lanes(row, 0xffffffffu, place);
  const int g = current->lane >> 2, t = current->lane & 3;
  for (int m = 0; m < 4; ++m) {
    unsigned short pair[2];
    for (int k = 0; k < 2; ++k) {
      const unsigned short* address;
      std::memcpy(&address, slots[8 * m + (transposed ? 2 * t + k : g)].bytes, sizeof address);
      pair[k] = address[transposed ? g : 2 * t + k];
    }
    out[m] = pair[0] | static_cast<unsigned>(pair[1]) << 16;
  }
}

} // namespace host
