#include "judge.hpp"

using namespace judge;

namespace {

template <class T>
void test_product(Index batches, Index m, Index n, Index k, bool a_turned, bool b_turned, Layout layout, Extent grid, Random& random) {
  const Shape a_shape = a_turned ? Shape{batches, k, m} : Shape{batches, m, k}, b_shape = b_turned ? Shape{batches, n, k} : Shape{batches, k, n};
  Operand<T> a(a_shape, layout, random), b(b_shape, layout == Layout::Contiguous && batches > 1 ? Layout::StretchedOuter : layout, random);
  Buffer<T> out(batches * m * n);
  GemmArgs args{};
  args.batch = space({batches});
  args.a = {a.buffer.data(), {a.place.stride[0]}}, args.b = {b.buffer.data(), {b.place.stride[0]}};
  args.m = m, args.n = n, args.k = k, args.out = out.data();
  args.a_row = a.place.stride[a_turned ? 2 : 1], args.a_column = a.place.stride[a_turned ? 1 : 2];
  args.b_row = b.place.stride[b_turned ? 2 : 1], args.b_column = b.place.stride[b_turned ? 1 : 2];
  launch(std::string("gemm") + SUFFIX<T>, grid, {256}, args);
  agree<T>("gemm", out, [&](Index i) {
    Wanted sum{0, 0};
    const Index e = i / (m * n), row = i / n % m, column = i % n;
    for (Index d = 0; d < k; ++d) {
      const double product = a.at(a_turned ? std::vector<Index>{e, d, row} : std::vector<Index>{e, row, d}) *
                             b.at(b_turned ? std::vector<Index>{e, column, d} : std::vector<Index>{e, d, column});
      sum.value += product, sum.unit += std::fabs(product);
    }
    return sum;
  });
}

template <class T>
void test_gemm() {
  Random random(1);
  for (int turned = 0; turned < 4; ++turned) {
    for (Layout layout : {Layout::Contiguous, Layout::Unaligned, Layout::Reversed, Layout::Gaps, Layout::PaddedByVectors}) {
      for (const Shape& size : {Shape{1, 1, 1}, Shape{3, 5, 17}, Shape{64, 64, 32}, Shape{65, 70, 40}, Shape{1, 130, 8}}) {
        const Extent grid{unsigned((size[1] + 63) / 64), unsigned((size[0] + 63) / 64)};
        test_product<T>(1, size[0], size[1], size[2], turned & 1, turned & 2, layout, grid, random);
      }
    }
    test_product<T>(3, 70, 20, 24, turned & 1, turned & 2, Layout::Contiguous, {1, 1, 2}, random); // tiles and entries by loops
  }
  test_product<T>(2, 5, 3, 0, false, false, Layout::Padded, {1, 1, 2}, random); // sums over nothing
  test_product<T>(1, 4, 4, 600, false, true, Layout::Contiguous, {1, 1, 1}, random);
}
TEST(gemm, product) { test_gemm<float>(), test_gemm<Bf16>(); }

template <class T>
void test_epilogue() {
  Random random(2);
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 7}, Shape{5, 16}, Shape{40, 24}}) {
    for (int choice = 0; choice < 8; ++choice) {
      for (int op = ACTIVATION_IDENTITY; op <= ACTIVATION_TANH; ++op) {
        const Index columns = shape[1];
        Operand<T> product(shape, choice & 4 ? Layout::Unaligned : Layout::Contiguous, random), bias({columns}, Layout::Contiguous, random);
        Buffer<T> pre(elements(shape)), out(elements(shape));
        EpilogueArgs args{shape[0], columns, product.buffer.data(), choice & 1 ? bias.buffer.data() : nullptr, choice & 2 ? pre.data() : nullptr, out.data(), op, 0};
        const auto z = [&](Index i) { return product.at(i) + (choice & 1 ? bias.at(i % columns) : 0); };
        const auto unit = [&](Index i) { return std::fabs(product.at(i)) + std::fabs(bias.at(i % columns)); };
        launch(std::string("epilogue") + SUFFIX<T>, {2}, {256}, args);
        if (choice & 2) agree<T>("pre", pre, [&](Index i) { return Wanted{z(i), unit(i)}; });
        agree<T>("epilogue", out, [&](Index i) { return Wanted{activation(op, z(i)), 2 * unit(i)}; });
        if (choice & 2) continue;
        Buffer<T> in_place(elements(shape));
        std::memcpy(in_place.data(), product.buffer.data(), std::size_t(elements(shape)) * sizeof(T));
        args.product = args.out = in_place.data();
        launch(std::string("epilogue") + SUFFIX<T>, {2}, {256}, args);
        agree<T>("epilogue in place", in_place, [&](Index i) { return Wanted{activation(op, z(i)), 2 * unit(i)}; });
      }
    }
  }
}
TEST(gemm, epilogue) { test_epilogue<float>(), test_epilogue<Bf16>(); }

} // namespace
