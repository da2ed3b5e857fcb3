#include "judge.hpp"

using namespace judge;

namespace {

const Extent BLOCK{256};

template <class T>
void test_gated_residual() {
  Random random(5);
  for (const Shape& shape : SHAPES) {
    for (int missing = 0; missing < 8; ++missing) {
      const auto any = [&] { return Operand<T>(shape, LAYOUTS[random.below(int(std::size(LAYOUTS)))], random); };
      Operand<T> x = any(), gate = any(), branch = any(), tx = any(), tgate = any(), tbranch = any();
      Buffer<T> out(elements(shape)), tangent(elements(shape));
      GatedResidualArgs args{space(shape), x.view(), gate.view(), branch.view(), tx.view(), tgate.view(), tbranch.view(), out.data(), tangent.data()};
      if (missing & 1) args.tx = View{};
      if (missing & 2) args.tgate = View{};
      if (missing & 4) args.tbranch = View{};
      const auto value = [&](Index i) { return Wanted{x.at(i) + gate.at(i) * branch.at(i), std::fabs(x.at(i)) + std::fabs(gate.at(i) * branch.at(i))}; };
      launch(std::string("gated_residual") + SUFFIX<T>, {2}, BLOCK, args);
      agree<T>("gated_residual", out, value);
      Buffer<T> again(elements(shape));
      args.out = again.data();
      launch(std::string("gated_residual_jvp") + SUFFIX<T>, {2}, BLOCK, args);
      agree<T>("the value of gated_residual_jvp", again, value);
      agree<T>("gated_residual_jvp", tangent, [&](Index i) {
        const double terms[3] = {missing & 1 ? 0 : tx.at(i), missing & 2 ? 0 : tgate.at(i) * branch.at(i), missing & 4 ? 0 : gate.at(i) * tbranch.at(i)};
        return Wanted{terms[0] + terms[1] + terms[2], std::fabs(terms[0]) + std::fabs(terms[1]) + std::fabs(terms[2])};
      });
    }
  }
}
TEST(residual, value_and_tangent) { test_gated_residual<float>(), test_gated_residual<Bf16>(); }

template <class T>
void test_sums() {
  Random random(6);
  const Index lanes = 16 / Index(sizeof(T));
  // Shapes, and how many of the axes before the last, from the right, share a row of the gate.
  const std::vector<std::pair<Shape, std::size_t>> cases = {{{1, lanes}, 1},          {{7, lanes}, 1},          {{3, 5, 3 * lanes}, 1},     {{3, 5, 40 * lanes}, 1},
                                                            {{2, 70, 33 * lanes}, 1}, {{2, 3, 4, 2 * lanes}, 2}, {{2, 3, 4, 2 * lanes}, 3}, {{65, 32 * lanes}, 1}};
  for (const auto& [shape, shared] : cases) {
    const Index width = shape.back(), rows = elements(shape) / width;
    Index group = 1;
    for (std::size_t axis = shape.size() - 1 - shared; axis + 1 < shape.size(); ++axis) group *= shape[axis];
    const Index groups = rows / group;
    for (Layout layout : {Layout::Contiguous, Layout::PaddedByVectors, Layout::Stretched}) {
      for (unsigned parts : {1u, 2u, 5u}) {
        for (int missing = 0; missing < 2; ++missing) {
          Operand<T> g(shape, Layout::Contiguous, random), branch(shape, Layout::Contiguous, random), gate(shape, layout, random);
          // One row for each group.
          for (std::size_t axis = shape.size() - 1 - shared; axis + 1 < shape.size(); ++axis) gate.place.stride[axis] = 0;
          Buffer<T> gbranch(elements(shape));
          Buffer<float> sums(Index(parts) * groups * width);
          GatedResidualVjpArgs args{space(shape), gate.view(), g.buffer.data(), branch.buffer.data(), missing ? nullptr : gbranch.data(), sums.data(), group};
          // Fewer blocks than there are tiles.
          launch(std::string("gated_residual_vjp") + SUFFIX<T>, {2, parts}, BLOCK, args);
          if (!missing) agree<T>("gbranch", gbranch, [&](Index i) { return Wanted{gate.at(i) * g.at(i), std::fabs(gate.at(i) * g.at(i))}; });
          const Index run = (group + parts - 1) / parts;
          agree<float>("sums", sums, [&](Index at) {
            const Index c = at % width, i = at / width % groups, part = at / width / groups;
            Wanted sum{0, 0};
            for (Index row = part * run; row < std::min(group, (part + 1) * run); ++row) {
              const Index element = (i * group + row) * width + c;
              sum.value += g.at(element) * branch.at(element), sum.unit += std::fabs(g.at(element) * branch.at(element));
            }
            return sum;
          });
        }
      }
    }
  }
}
TEST(residual, pullback_with_sums) { test_sums<float>(), test_sums<Bf16>(); }

} // namespace
