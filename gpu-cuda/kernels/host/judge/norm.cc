#include "judge.hpp"

using namespace judge;

namespace {

constexpr float EPSILON = 1e-3f;

// Everything about a row, by the definition. Units grow with the cancellation of x − mean.
template <class T>
struct Row {
  double mean = 0, rate = 0, growth = 0;
  Row(const Operand<T>& x, Index row, Index width) {
    double variance = 0, largest = 0;
    for (Index c = 0; c < width; ++c) mean += x.at(row * width + c) / double(width), largest = std::max(largest, std::fabs(x.at(row * width + c)));
    for (Index c = 0; c < width; ++c) variance += std::pow(x.at(row * width + c) - mean, 2) / double(width);
    rate = 1 / std::sqrt(variance + double(EPSILON));
    growth = 1 + largest * rate;
  }
};

template <class T>
void test_norm() {
  Random random(1);
  for (const Shape& shape : {Shape{1}, Shape{5}, Shape{7, 1}, Shape{3, 17}, Shape{2, 5, 16}, Shape{2, 3, 257}, Shape{40, 24}, Shape{2, 3, 1152}, Shape{2, 2, 2, 2, 2, 8},
                             Shape{3, 256}, Shape{3, 264}, Shape{2, 512}, Shape{2, 520}, Shape{5, 1280}, Shape{2, 1288}}) {
    const Index width = shape.back(), rows = elements(shape) / width;
    for (Layout layout : {Layout::Contiguous, Layout::Unaligned, Layout::StretchedOuter, Layout::StretchedInner, Layout::Stretched, Layout::PaddedByVectors}) {
      for (int missing = 0; missing < 7; missing += 1 + 2 * (elements(shape) > 1000)) {
        const Layout plain = layout == Layout::Unaligned ? Layout::Unaligned : Layout::Contiguous;
        Operand<T> x(shape, plain, random), g(shape, plain, random), tx(shape, plain, random);
        for (Index i = 0; i < x.buffer.size(); ++i) x.buffer[i] = rounded<T>(number(x.buffer[i]) + 1.0);
        const auto any = [&] { return Operand<T>(shape, layout, random, 0.5); };
        Operand<T> scale = any(), shift = any(), tscale = any(), tshift = any();
        Buffer<T> out(elements(shape)), gx(elements(shape)), gscale(elements(shape)), value(elements(shape)), tangent(elements(shape));
        Buffer<float> mean(rows), rate(rows);
        LayerNormArgs args{};
        args.space = space(shape), args.x = x.buffer.data(), args.scale = scale.view(), args.shift = shift.view(), args.epsilon = EPSILON;
        args.mean = mean.data(), args.rate = rate.data(), args.out = out.data();
        args.g = g.buffer.data(), args.gx = gx.data(), args.gscale = gscale.data();
        std::vector<Row<T>> about;
        for (Index r = 0; r < rows; ++r) about.emplace_back(x, r, width);
        const auto normal = [&](Index i) { return (x.at(i) - about[std::size_t(i / width)].mean) * about[std::size_t(i / width)].rate; };
        const auto wanted = [&](Index i) {
          const double y = normal(i) * (1 + scale.at(i));
          return Wanted{y + shift.at(i), 4 * about[std::size_t(i / width)].growth * (1 + std::fabs(scale.at(i))) + std::fabs(shift.at(i))};
        };
        // As Grid::held_rows launches, and rows beyond the grid.
        const bool held = width <= 1280 && width * Index(sizeof(T)) % 16 == 0;
        const Extent grid{unsigned(held ? (rows > 16 ? 3 : (rows + 3) / 4) : rows > 4 ? 3 : rows)}, block{held ? 128u : width > 200 ? 256u : 32u};
        launch(std::string("layer_norm") + SUFFIX<T>, grid, block, args);
        agree<T>("layer_norm", out, wanted);
        agree<float>("mean", mean, [&](Index r) { return Wanted{about[std::size_t(r)].mean, about[std::size_t(r)].growth / about[std::size_t(r)].rate}; }, 2e-6);
        agree<float>("rate", rate, [&](Index r) { return Wanted{about[std::size_t(r)].rate, 4 * about[std::size_t(r)].growth * about[std::size_t(r)].rate}; }, 2e-6);

        if (missing & 1) args.gx = nullptr;
        if (missing & 2) args.gscale = nullptr;
        launch(std::string("layer_norm_vjp") + SUFFIX<T>, grid, block, args);
        // rate (h − avg h − n avg(h n)) of all h.
        const auto project = [&](const std::vector<double>& h) {
          std::vector<Wanted> result;
          for (Index r = 0; r < rows; ++r) {
            double h_mean = 0, hn_mean = 0, size = 0;
            for (Index c = r * width; c < (r + 1) * width; ++c) {
              const double here = h[std::size_t(c)], n = normal(c);
              h_mean += here / double(width), hn_mean += here * n / double(width), size += std::fabs(here) * (1 + std::fabs(n)) / double(width);
            }
            const Row<T>& row = about[std::size_t(r)];
            for (Index c = r * width; c < (r + 1) * width; ++c) {
              const double here = h[std::size_t(c)];
              result.push_back({row.rate * (here - h_mean - normal(c) * hn_mean), 4 * row.rate * row.growth * row.growth * (std::fabs(here) + size)});
            }
          }
          return result;
        };
        std::vector<double> h, t;
        for (Index i = 0; i < elements(shape); ++i) h.push_back(g.at(i) * (1 + scale.at(i))), t.push_back(tx.at(i));
        const std::vector<Wanted> gx_wanted = project(h), tx_wanted = project(t);
        if (args.gx) agree<T>("gx", gx, [&](Index i) { return gx_wanted[std::size_t(i)]; });
        if (args.gscale) agree<T>("gscale", gscale, [&](Index i) { return Wanted{g.at(i) * normal(i), 4 * std::fabs(g.at(i)) * about[std::size_t(i / width)].growth}; });

        args.out = value.data(), args.tangent = tangent.data();
        args.mean = args.rate = nullptr;
        if (!(missing & 1)) args.tx = tx.buffer.data();
        if (!(missing & 2)) args.tscale = tscale.view();
        if (!(missing & 4)) args.tshift = tshift.view();
        launch(std::string("layer_norm_jvp") + SUFFIX<T>, grid, block, args);
        agree<T>("the value of layer_norm_jvp", value, wanted);
        agree<T>("layer_norm_jvp", tangent, [&](Index i) {
          Wanted sum{0, 0};
          if (args.tx) {
            const Wanted part = tx_wanted[std::size_t(i)];
            sum.value += (1 + scale.at(i)) * part.value, sum.unit += (1 + std::fabs(scale.at(i))) * part.unit;
          }
          if (args.tscale.data) sum.value += normal(i) * tscale.at(i), sum.unit += 4 * about[std::size_t(i / width)].growth * std::fabs(tscale.at(i));
          if (args.tshift.data) sum.value += tshift.at(i), sum.unit += std::fabs(tshift.at(i));
          return sum;
        });
      }
    }
  }
}
TEST(norm, value_and_derivatives) { test_norm<float>(), test_norm<Bf16>(); }

// The pullback with sums against that without: gx is the same, and the sums are those of g n and of g.
template <class T>
void test_sums() {
  Random random(2);
  for (const Shape& shape : {Shape{1, 1, 8}, Shape{3, 5, 40}, Shape{2, 30, 256}, Shape{2, 7, 512}, Shape{3, 9, 1152}, Shape{1, 50, 1280}, Shape{2, 3, 520}}) {
    const Index width = shape.back(), group = shape[1], groups = shape[0], rows = group * groups;
    for (Layout layout : {Layout::Contiguous, Layout::PaddedByVectors, Layout::Stretched}) {
      for (unsigned parts : {1u, 3u}) {
        Operand<T> x(shape, Layout::Contiguous, random), g(shape, Layout::Contiguous, random), scale(shape, layout, random, 0.5);
        scale.place.stride[1] = 0; // one row for each group
        Buffer<T> gx(elements(shape)), plain(elements(shape));
        Buffer<float> mean(rows), rate(rows);
        for (Index r = 0; r < rows; ++r) {
          const Row<T> row(x, r, width);
          mean[r] = float(row.mean), rate[r] = float(row.rate);
        }
        LayerNormArgs args{};
        args.space = space(shape), args.x = x.buffer.data(), args.scale = scale.view(), args.epsilon = EPSILON;
        args.mean = mean.data(), args.rate = rate.data(), args.g = g.buffer.data(), args.gx = plain.data(), args.group = group;
        launch(std::string("layer_norm_vjp") + SUFFIX<T>, {2}, {128}, args);
        for (const bool missing : {false, true}) {
          Buffer<float> sums(Index(parts) * 2 * groups * width);
          args.sums = sums.data();
          args.gx = missing ? nullptr : gx.data();
          launch(std::string("layer_norm_vjp_sums") + SUFFIX<T>, {2, parts}, {128}, args);
          if (!missing) agree<T>("gx", gx, [&](Index i) { return Wanted{number(plain[i]), 1 + std::fabs(number(plain[i]))}; });
          const Index run = (group + parts - 1) / parts;
          agree<float>("sums", sums, [&](Index at) {
            const Index c = at % width, i = at / width % groups, which = at / width / groups % 2, part = at / width / groups / 2;
            Wanted sum{0, 0};
            for (Index r = part * run; r < std::min(group, (part + 1) * run); ++r) {
              const Index row = i * group + r;
              const double slope = g.at(row * width + c), n = which ? 1 : (x.at(row * width + c) - double(mean[row])) * double(rate[row]);
              sum.value += slope * n, sum.unit += std::fabs(slope) * (which ? 1 : 4 * (1 + std::fabs(n)));
            }
            return sum;
          }, 2e-6);
        }
      }
    }
  }
}
TEST(norm, pullback_with_sums) { test_sums<float>(), test_sums<Bf16>(); }

} // namespace
