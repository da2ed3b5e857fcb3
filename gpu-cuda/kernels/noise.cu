// mfm_core::Noise: word i is the i-th 64-bit little-endian output of ChaCha8 keyed by the seed, with the stream as its nonce.
#include "storage.cuh"

__device__ __forceinline__ unsigned rotate(unsigned x, unsigned bits) { return x << bits | x >> (32 - bits); }

__device__ __forceinline__ void quarter_round(unsigned& a, unsigned& b, unsigned& c, unsigned& d) {
  a += b, d = rotate(d ^ a, 16);
  c += d, b = rotate(b ^ c, 12);
  a += b, d = rotate(d ^ a, 8);
  c += d, b = rotate(b ^ c, 7);
}

constexpr int BLOCK_WORDS = 8; // of 64 bits

// The 64 bytes of block `counter` (Bernstein, 2008, with 8 rounds, a 64-bit counter and a 64-bit nonce).
__device__ __forceinline__ void chacha(const NoiseArgs& args, unsigned long long counter, unsigned long long (&words)[BLOCK_WORDS]) {
  const unsigned start[16] = {0x61707865u,
                              0x3320646eu,
                              0x79622d32u,
                              0x6b206574u,
                              args.seed[0],
                              args.seed[1],
                              args.seed[2],
                              args.seed[3],
                              args.seed[4],
                              args.seed[5],
                              args.seed[6],
                              args.seed[7],
                              static_cast<unsigned>(counter),
                              static_cast<unsigned>(counter >> 32),
                              static_cast<unsigned>(args.stream),
                              static_cast<unsigned>(args.stream >> 32)};
  unsigned x[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) x[i] = start[i];
#pragma unroll
  for (int round = 0; round < 4; ++round) {
#pragma unroll
    for (int i = 0; i < 4; ++i) quarter_round(x[i], x[4 + i], x[8 + i], x[12 + i]);
#pragma unroll
    for (int i = 0; i < 4; ++i) quarter_round(x[i], x[4 + (i + 1) % 4], x[8 + (i + 2) % 4], x[12 + (i + 3) % 4]);
  }
#pragma unroll
  for (int i = 0; i < BLOCK_WORDS; ++i) {
    words[i] = static_cast<unsigned long long>(x[2 * i] + start[2 * i]) | static_cast<unsigned long long>(x[2 * i + 1] + start[2 * i + 1]) << 32;
  }
}

// Calls make(words) to turn a block of the cipher into BLOCK_WORDS values, and writes those that were asked for.
template <class Value, class T, class Make, class Write>
__device__ __forceinline__ void for_blocks(const NoiseArgs& args, Make make, Write write) {
  const int lead = static_cast<int>(args.offset % BLOCK_WORDS);
  const unsigned long long first = args.offset / BLOCK_WORDS;
  const long long blocks = (lead + args.elements + BLOCK_WORDS - 1) / BLOCK_WORDS;
  T* const out = static_cast<T*>(args.out);
  for (long long b = grid_start(); b < blocks; b += grid_stride()) {
    unsigned long long words[BLOCK_WORDS];
    // After the last word of all comes the first.
    chacha(args, (first + static_cast<unsigned long long>(b)) & (~0ull / BLOCK_WORDS), words);
    Value values[BLOCK_WORDS];
    make(words, values);
#pragma unroll
    for (int k = 0; k < BLOCK_WORDS; ++k) {
      const long long i = b * BLOCK_WORDS + k - lead;
      if (i >= 0 && i < args.elements) write(out + i, values[k]);
    }
  }
}

KERNEL(noise_words, NoiseArgs, POINTWISE_THREADS) {
  for_blocks<unsigned long long, unsigned long long>(
      args,
      [](const unsigned long long(&words)[BLOCK_WORDS], unsigned long long(&values)[BLOCK_WORDS]) {
#pragma unroll
        for (int k = 0; k < BLOCK_WORDS; ++k) values[k] = words[k];
      },
      [](unsigned long long* to, unsigned long long value) { *to = value; });
}

// The upper 53 bits of a word as a number in [0, 1).
__device__ __forceinline__ double unit(unsigned long long word) { return static_cast<double>(word >> 11) * (1.0 / 9007199254740992.0); }

template <class T>
__device__ __forceinline__ void noise_normal(const NoiseArgs& args) {
  for_blocks<float, T>(
      args,
      [](const unsigned long long(&words)[BLOCK_WORDS], float(&values)[BLOCK_WORDS]) {
#pragma unroll
        for (int pair = 0; pair < BLOCK_WORDS / 2; ++pair) {
          const double radius = sqrt(-2.0 * log(1.0 - unit(words[2 * pair])));
          double sine, cosine;
          sincospi(2.0 * unit(words[2 * pair + 1]), &sine, &cosine);
          values[2 * pair] = static_cast<float>(radius * cosine);
          values[2 * pair + 1] = static_cast<float>(radius * sine);
        }
      },
      [](T* to, float value) { store(to, value); });
}
KERNEL_OF_BOTH(noise_normal, NoiseArgs, POINTWISE_THREADS)
