#include "judge.hpp"

using namespace judge;

namespace {

// ChaCha8 after RFC 8439's description of the rounds, with Bernstein's 64-bit counter and nonce; written apart from the kernel's.
std::uint64_t word(const NoiseArgs& args, std::uint64_t i) {
  const std::uint64_t counter = i / 8;
  std::uint32_t state[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  for (int k = 0; k < 8; ++k) state[4 + k] = args.seed[k];
  state[12] = std::uint32_t(counter), state[13] = std::uint32_t(counter >> 32);
  state[14] = std::uint32_t(args.stream), state[15] = std::uint32_t(args.stream >> 32);
  std::uint32_t x[16];
  std::memcpy(x, state, sizeof x);
  const auto turn = [](std::uint32_t v, int n) { return v << n | v >> (32 - n); };
  const auto quarter = [&](int a, int b, int c, int d) {
    x[a] += x[b], x[d] = turn(x[d] ^ x[a], 16);
    x[c] += x[d], x[b] = turn(x[b] ^ x[c], 12);
    x[a] += x[b], x[d] = turn(x[d] ^ x[a], 8);
    x[c] += x[d], x[b] = turn(x[b] ^ x[c], 7);
  };
  for (int round = 0; round < 4; ++round) {
    quarter(0, 4, 8, 12), quarter(1, 5, 9, 13), quarter(2, 6, 10, 14), quarter(3, 7, 11, 15);
    quarter(0, 5, 10, 15), quarter(1, 6, 11, 12), quarter(2, 7, 8, 13), quarter(3, 4, 9, 14);
  }
  const int k = int(i % 8) * 2;
  return (x[k] + state[k]) | std::uint64_t(x[k + 1] + state[k + 1]) << 32;
}

double unit(std::uint64_t word) { return double(word >> 11) * std::pow(2.0, -53); }

// The first output block of ChaCha8 under the key of zeros, from the estream test vectors (eSTREAM set 1, vector 0: 3e00ef2f895f40d6...).
TEST(noise, known_words) {
  Buffer<std::uint64_t> out(2);
  launch("noise_words", {1}, {256}, NoiseArgs{{}, 0, 0, 2, out.data()});
  const unsigned char known[16] = {0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6, 0x7f, 0x5b, 0xb8, 0xe8, 0x1f, 0x09, 0xa5, 0xa1};
  if (std::memcmp(out.data(), known, sizeof known) != 0) fail("the first words differ from the published ones");
}

template <class T>
void test_normal() {
  for (std::uint64_t offset : {0ull, 1ull, 7ull, 63ull, (1ull << 40) + 17, ~0ull >> 1}) {
    for (Index n : {0, 1, 2, 3, 8, 257, 1000}) {
      NoiseArgs args{{1, 2, 3, 0xffffffff, 5, 6, 7, 8}, 0x123456789abcdef0, offset, n, nullptr};
      Buffer<T> out(n, n == 257);
      args.out = out.data();
      launch(std::string("noise_normal") + SUFFIX<T>, {2}, {64}, args);
      agree<T>("noise_normal", out, [&](Index i) {
        const std::uint64_t at = offset + std::uint64_t(i), pair = at & ~1ull;
        const double radius = std::sqrt(-2 * std::log(1 - unit(word(args, pair)))), angle = 2 * M_PI * unit(word(args, pair + 1));
        const double value = radius * (at & 1 ? std::sin(angle) : std::cos(angle));
        return Wanted{value, sizeof(T) == 4 ? 0.05 * (1 + std::fabs(value)) : std::fabs(value) + 1e-6}; // f32: 1e-7
      });
    }
  }
}
TEST(noise, normal) { test_normal<float>(), test_normal<Bf16>(); }

TEST(noise, words) {
  for (std::uint64_t offset : {0ull, 5ull, 0xfffffffffull}) {
    for (Index n : {0, 1, 9, 300}) {
      NoiseArgs args{{9, 8, 7, 6, 5, 4, 3, 2}, ~0ull, offset, n, nullptr};
      Buffer<std::uint64_t> out(n);
      args.out = out.data();
      launch("noise_words", {2}, {64}, args);
      if (!out.intact()) fail("the guards around the words were written to");
      for (Index i = 0; i < n; ++i) {
        if (out[i] != word(args, offset + std::uint64_t(i))) return fail("a word differs");
      }
    }
  }
}

} // namespace
