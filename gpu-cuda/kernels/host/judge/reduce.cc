#include "judge.hpp"

using namespace judge;

namespace {

// Reduces an axis of a larger operand: `kept` outermost, the axis last or first.
template <class S, class T>
void test_reduce(const char* types) {
  Random random(1);
  for (const Shape& kept : {Shape{}, Shape{1}, Shape{5}, Shape{3, 4}, Shape{40}, Shape{2, 3, 16}, Shape{2, 2, 3, 2, 5}}) {
    for (Index length : {0, 1, 3, 31, 33, 256, 1025, 2100}) {
      if (elements(kept) * length > 12000) continue;
      for (Layout layout : {Layout::Contiguous, Layout::Unaligned, Layout::Reversed, Layout::Gaps, Layout::PaddedByVectors, Layout::StretchedInner}) {
        for (int op : {REDUCE_SUM, REDUCE_MAX, REDUCE_SQUARES}) {
          Shape whole = kept;
          const bool last = random.below(2);
          whole.insert(last ? whole.end() : whole.begin(), std::max<Index>(length, 1));
          Operand<S> x(whole, layout, random);
          if (op == REDUCE_MAX && random.below(3) == 0) x.buffer[random.below(int(x.buffer.size()))] = rounded<S>(NAN);
          const std::size_t axis = last ? kept.size() : 0;
          ReduceArgs args{space(kept), {}, length, x.place.stride[axis], nullptr, op, 1 + random.below(3)};
          args.x.data = x.buffer.data();
          for (std::size_t k = 0; k < kept.size(); ++k) args.x.stride[k] = x.place.stride[last ? k : k + 1];
          const Index run = ((length + args.parts - 1) / args.parts + 15) / 16 * 16;
          const auto wanted = [&](Index i) {
            const Index part = i / elements(kept);
            std::vector<Index> at = coordinates(kept, i % elements(kept));
            at.insert(last ? at.end() : at.begin(), 0);
            const Index first = x.offset(at);
            Wanted result{op == REDUCE_MAX ? -INFINITY : 0.0, 0};
            for (Index j = part * run; j < std::min(length, (part + 1) * run); ++j) {
              const double value = number(x.buffer[first + j * x.place.stride[axis]]);
              if (op == REDUCE_SUM) {
                result.value += value, result.unit += std::fabs(value);
              } else if (op == REDUCE_SQUARES) {
                result.value += value * value, result.unit += value * value;
              } else if (!(result.value >= value) && !std::isnan(result.value)) {
                result.value = value, result.unit = std::fabs(value);
              }
            }
            return result;
          };
          Buffer<T> rows(elements(kept) * args.parts), columns(elements(kept) * args.parts);
          const double tolerance = std::max(TOLERANCE<T>, 2e-6);
          args.out = rows.data();
          launch(std::string("reduce_rows_") + types, {3, unsigned(args.parts)}, {length == 1025 ? 512u : 64u}, args);
          agree<T>("rows", rows, wanted, tolerance);
          if (op == REDUCE_SQUARES) continue;
          args.out = columns.data();
          launch(std::string("reduce_columns_") + types, {1, unsigned(args.parts)}, {256}, args);
          agree<T>("columns", columns, wanted, tolerance);
        }
      }
    }
  }
}
TEST(reduce, any_layout) {
  test_reduce<float, float>("f32_f32");
  test_reduce<float, Bf16>("f32_bf16");
  test_reduce<Bf16, float>("bf16_f32");
  test_reduce<Bf16, Bf16>("bf16_bf16");
}

TEST(reduce, long_sums) {
  Random random(2);
  const Index n = 300001;
  Operand<float> x({n}, Layout::Contiguous, random);
  Wanted sum{0, 0};
  for (Index i = 0; i < n; ++i) {
    x.buffer[i] = std::fabs(x.buffer[i]);
    sum.value += x.buffer[i], sum.unit += x.buffer[i];
  }
  Buffer<float> out(1);
  launch("reduce_rows_f32_f32", {1}, {256}, ReduceArgs{space({}), {x.buffer.data(), {}}, n, 1, out.data(), REDUCE_SUM, 1});
  agree<float>("a row of 300,001", out, [&](Index) { return sum; }, 2e-7);
  launch("reduce_columns_f32_f32", {1}, {256}, ReduceArgs{space({}), {x.buffer.data(), {}}, n, 1, out.data(), REDUCE_SUM, 1});
  agree<float>("a column of 300,001", out, [&](Index) { return sum; }, 2e-7);
}

} // namespace
