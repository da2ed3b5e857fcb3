#include "judge.hpp"

using namespace judge;

namespace {

template <class T>
void test_gather() {
  Random random(1);
  for (const Shape& shape : SHAPES) {
    for (Layout layout : {Layout::Contiguous, Layout::Unaligned, Layout::Reversed, Layout::PaddedByVectors, Layout::StretchedInner}) {
      for (std::size_t axis = 0; axis < std::max<std::size_t>(shape.size(), 1); ++axis) {
        Shape source = shape;
        if (source.empty()) source.push_back(1);
        const Index count = shape.empty() ? 1 : shape[axis];
        source[axis] = 5;
        Operand<T> x(source, layout, random);
        std::vector<Index> index(static_cast<std::size_t>(count));
        for (Index& i : index) i = random.below(5);
        Buffer<T> out(elements(shape));
        launch(std::string("gather") + SUFFIX<T>, {2}, {256}, GatherArgs{space(shape), x.view(), index.data(), out.data(), int(axis), 0});
        agree<T>("gather", out, [&](Index i) {
          std::vector<Index> at = coordinates(shape, i);
          if (at.empty()) at.push_back(0);
          at[axis] = index[std::size_t(shape.empty() ? 0 : at[axis])];
          return Wanted{x.at(at), 0};
        });
      }
    }
  }
}
TEST(index, gather) { test_gather<float>(), test_gather<Bf16>(); }

template <class T>
void test_scatter_add() {
  Random random(2);
  for (const Shape& shape : SHAPES) {
    for (Layout layout : {Layout::Contiguous, Layout::Unaligned, Layout::Reversed, Layout::PaddedByVectors, Layout::StretchedInner}) {
      for (std::size_t axis = 0; axis < std::max<std::size_t>(shape.size(), 1); ++axis) {
        Shape source = shape;
        if (source.empty()) source.push_back(1);
        const Index entries = 13, length = shape.empty() ? 1 : shape[axis];
        source[axis] = entries;
        Operand<T> x(source, layout, random);
        std::vector<Index> target(entries), start(std::size_t(length) + 1), order;
        for (Index& i : target) i = random.below(int(std::min<Index>(length, 6))); // some get several, some none
        for (Index c = 0; c < length; ++c) {
          for (Index p = 0; p < entries; ++p) {
            if (target[std::size_t(p)] == c) order.push_back(p);
          }
          start[std::size_t(c) + 1] = Index(order.size());
        }
        Buffer<T> out(elements(shape));
        launch(std::string("scatter_add") + SUFFIX<T>, {2}, {256}, ScatterAddArgs{space(shape), x.view(), start.data(), order.data(), out.data(), int(axis), 0});
        agree<T>("scatter_add", out, [&](Index i) {
          std::vector<Index> at = coordinates(shape, i);
          if (at.empty()) at.push_back(0);
          const Index here = shape.empty() ? 0 : at[axis];
          Wanted sum{0, 0};
          for (Index p = 0; p < entries; ++p) {
            if (target[std::size_t(p)] != here) continue;
            at[axis] = p;
            sum.value += x.at(at), sum.unit += std::fabs(x.at(at));
          }
          return sum;
        });
      }
    }
  }
}
TEST(index, scatter_add) { test_scatter_add<float>(), test_scatter_add<Bf16>(); }

} // namespace
