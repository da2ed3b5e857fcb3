#include "judge.hpp"

using namespace judge;

namespace {

template <class T>
void test_copy() {
  Random random(1);
  std::vector<Shape> shapes = SHAPES;
  shapes.insert(shapes.end(), {{33, 70}, {2, 33, 65}, {16, 3, 16}, {3, 17, 2, 19}, {3, 5, 1040}});
  for (const Shape& shape : shapes) {
    for (Layout from : LAYOUTS) {
      for (Layout to : {Layout::Contiguous, Layout::Unaligned, Layout::Reversed, Layout::Gaps, Layout::Padded, Layout::PaddedByVectors}) {
        Operand<T> x(shape, from, random);
        const Strides place = strides(shape, to);
        Buffer<T> out(place.span, place.shift);
        for (Index i = 0; i < out.size(); ++i) out[i] = rounded<T>(-7.0);
        CopyArgs args{space(shape), x.view(), {}};
        args.to.data = out.data();
        std::vector<double> wanted(std::size_t(place.span), -7.0); // between the places nothing is written
        for (std::size_t axis = 0; axis < shape.size(); ++axis) args.to.stride[axis] = place.stride[axis];
        for (Index i = 0; i < elements(shape); ++i) {
          Index offset = 0;
          const std::vector<Index> at = coordinates(shape, i);
          for (std::size_t axis = 0; axis < shape.size(); ++axis) offset += at[axis] * place.stride[axis];
          wanted[std::size_t(offset)] = x.at(i);
        }
        launch(std::string("copy") + SUFFIX<T>, {2}, {256}, args);
        agree<T>("copy", out, [&](Index i) { return Wanted{wanted[std::size_t(i)], 0}; });
      }
    }
  }
}
TEST(copy, any_layout) { test_copy<float>(), test_copy<Bf16>(); }

template <class From, class To>
void test_convert() {
  Random random(2);
  for (Index n : {1, 7, 8, 256, 2051}) {
    for (Layout layout : {Layout::Contiguous, Layout::Unaligned}) {
      const Operand<From> x({n}, layout, random);
      for (int shift : {0, 1}) {
        Buffer<To> out(n, shift);
        launch(std::string("convert") + SUFFIX<From> + SUFFIX<To>, {2}, {256}, ConvertArgs{n, x.buffer.data(), out.data()});
        agree<To>("convert", out, [&](Index i) { return Wanted{number(rounded<To>(x.at(i))), 0}; });
      }
    }
  }
}
TEST(copy, convert) { test_convert<float, Bf16>(), test_convert<Bf16, float>(); }

template <class T>
void test_fill() {
  for (Index n : {0, 1, 7, 256, 2051}) {
    for (int shift : {0, 1}) {
      Buffer<T> out(n, shift);
      launch(std::string("fill") + SUFFIX<T>, {2}, {256}, FillArgs{n, out.data(), 0.3f, 0});
      agree<T>("fill", out, [&](Index) { return Wanted{number(rounded<T>(0.3f)), 0}; });
    }
  }
}
TEST(copy, fill) { test_fill<float>(), test_fill<Bf16>(); }

} // namespace
