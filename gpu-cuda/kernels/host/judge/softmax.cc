#include "judge.hpp"

using namespace judge;

namespace {

template <class T>
void test_softmax() {
  Random random(1);
  for (Index rows : {1, 5}) {
    for (Index width : {1, 2, 7, 8, 33, 256, 257, 1500}) {
      for (Layout layout : {Layout::Contiguous, Layout::Unaligned}) {
        const Shape shape{rows, width};
        Operand<T> x(shape, layout, random, 3.0), y(shape, Layout::Contiguous, random), g(shape, layout, random);
        for (Index c = 0; c < width; c += 3) x.buffer[c] = rounded<T>(-INFINITY); // not all of a row, unless it is one wide
        std::vector<double> largest(std::size_t(rows), -INFINITY), sum(std::size_t(rows), 0), product(std::size_t(rows), 0), size(std::size_t(rows), 0);
        for (Index i = 0; i < rows * width; ++i) largest[std::size_t(i / width)] = std::max(largest[std::size_t(i / width)], x.at(i));
        for (double& l : largest) l = l == -INFINITY ? 0 : l;
        for (Index i = 0; i < rows * width; ++i) {
          sum[std::size_t(i / width)] += std::exp(x.at(i) - largest[std::size_t(i / width)]);
          product[std::size_t(i / width)] += y.at(i) * g.at(i), size[std::size_t(i / width)] += std::fabs(y.at(i) * g.at(i));
        }
        const auto weight = [&](Index i) {
          const double p = std::exp(x.at(i) - largest[std::size_t(i / width)]) / sum[std::size_t(i / width)];
          return Wanted{p, p * (2 + std::fabs(x.at(i) - largest[std::size_t(i / width)])) + (std::isnan(p) ? 0 : 1e-30)};
        };
        Buffer<T> out(rows * width), gradient(rows * width), weights(rows * width), value(rows), dots(rows);
        RowsArgs args{rows, width, x.buffer.data(), y.buffer.data(), g.buffer.data(), out.data(), value.data(), weights.data()};
        const Extent grid{unsigned(rows > 1 ? 2 : 1)}, block{width > 100 ? 128u : 32u};
        launch(std::string("softmax") + SUFFIX<T>, grid, block, args);
        const auto finite = [&](Index i) {
          const Wanted w = weight(i);
          return std::isinf(x.at(i)) && !std::isnan(w.value) ? Wanted{0, 0} : w;
        };
        agree<T>("softmax", out, finite);
        args.out = gradient.data();
        launch(std::string("softmax_gradient") + SUFFIX<T>, grid, block, args);
        agree<T>("softmax_gradient", gradient, [&](Index i) {
          const std::size_t r = std::size_t(i / width);
          return Wanted{y.at(i) * (g.at(i) - product[r]), std::fabs(y.at(i)) * (std::fabs(g.at(i)) + size[r])};
        });
        launch(std::string("log_mean_exp") + SUFFIX<T>, grid, block, args);
        agree<T>("weights", weights, finite);
        agree<T>("log_mean_exp", value, [&](Index r) {
          const double l = largest[std::size_t(r)], mean = std::log(sum[std::size_t(r)] / double(width));
          return Wanted{mean + l, 1 + std::fabs(l) + std::fabs(mean)};
        });
        args.weights = nullptr, args.value = dots.data(), args.x = y.buffer.data(), args.y = g.buffer.data();
        launch(std::string("row_dots") + SUFFIX<T>, grid, block, args);
        agree<T>("row_dots", dots, [&](Index r) { return Wanted{product[std::size_t(r)], size[std::size_t(r)]}; });
      }
    }
  }
}
TEST(softmax, rows) { test_softmax<float>(), test_softmax<Bf16>(); }

} // namespace
