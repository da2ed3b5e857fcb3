#include "judge.hpp"

using namespace judge;

namespace {

const Extent BLOCK{256};

// A value with what a relative error of its argument of one unit would do to it.
Wanted unary(int op, double c, double x) {
  switch (op) {
    case UNARY_NEG: return {-x, std::fabs(x)};
    case UNARY_ABS: return {std::fabs(x), std::fabs(x)};
    case UNARY_EXP: return {std::exp(x), std::exp(x)};
    case UNARY_LOG: return {std::log(x), 1 + std::fabs(std::log(x))};
    case UNARY_SQRT: return {std::sqrt(x), std::sqrt(x)};
    case UNARY_RECIP: return {1 / x, std::fabs(1 / x)};
    case UNARY_SQUARE: return {x * x, x * x};
    case UNARY_SIN: return {std::sin(x), 1};
    case UNARY_COS: return {std::cos(x), 1};
    case UNARY_TANH: return {std::tanh(x), std::fabs(std::tanh(x))};
    case UNARY_SIGMOID: return {sigmoid(x), sigmoid(x)};
    case UNARY_SCALE: return {double(float(c)) * x, std::fabs(c * x)};
    default: return {x + double(float(c)), std::fabs(x) + std::fabs(c)};
  }
}

Wanted binary(int op, double a, double b) {
  switch (op) {
    case BINARY_ADD: return {a + b, std::fabs(a) + std::fabs(b)};
    case BINARY_SUB: return {a - b, std::fabs(a) + std::fabs(b)};
    case BINARY_MUL: return {a * b, std::fabs(a * b)};
    case BINARY_DIV: return {a / b, std::fabs(a / b)};
    case BINARY_EQUAL: return {double(a == b), 0};
    case BINARY_LESS: return {double(a < b), 0};
    default: return {double(a <= b), 0};
  }
}

// By central differences of the function above.
double slope(int op, double x) { return (activation(op, x + 1e-5) - activation(op, x - 1e-5)) / 2e-5; }

template <class T>
void test_unary() {
  Random random(1);
  for (const Shape& shape : SHAPES) {
    for (Layout layout : LAYOUTS) {
      Operand<T> x(shape, layout, random);
      for (int op = UNARY_NEG; op <= UNARY_SHIFT; ++op) {
        if (elements(shape) > 300 && op != UNARY_TANH) continue;
        Buffer<T> out(elements(shape), layout == Layout::Padded ? 1 : 0);
        launch(std::string("unary") + SUFFIX<T>, {2}, BLOCK, UnaryArgs{space(shape), x.view(), out.data(), 0.3f, op});
        agree<T>("unary", out, [&](Index i) { return unary(op, 0.3f, x.at(i)); });
      }
    }
  }
  const double inf = INFINITY;
  const std::vector<double> special = {0.0, -0.0, inf, -inf, NAN, 1e30, -1e30, 88.0, -100.0, 1e-30, 1e6, 12345.678};
  const Index n = Index(special.size());
  Buffer<T> x(n);
  for (Index i = 0; i < n; ++i) x[i] = rounded<T>(special[std::size_t(i)]);
  for (int op = UNARY_NEG; op <= UNARY_SHIFT; ++op) {
    Buffer<T> out(n);
    View view{x.data(), {1}};
    launch(std::string("unary") + SUFFIX<T>, {1}, BLOCK, UnaryArgs{space({n}), view, out.data(), 2.0f, op});
    agree<T>("special values", out, [&](Index i) {
      const Wanted wanted = unary(op, 2.0, number(x[i]));
      // What f32 cannot hold is infinite.
      return std::fabs(wanted.value) > 3.4028235e38 ? Wanted{std::copysign(inf, wanted.value), 0} : wanted;
    });
  }
}
TEST(elementwise, unary) { test_unary<float>(), test_unary<Bf16>(); }

template <class T>
void test_binary() {
  Random random(2);
  for (const Shape& shape : SHAPES) {
    for (Layout first : LAYOUTS) {
      for (Layout second : {Layout::Contiguous, Layout::StretchedOuter, Layout::StretchedInner, Layout::Reversed, Layout::PaddedByVectors}) {
        Operand<T> a(shape, first, random), b(shape, second, random);
        b.buffer[0] = a.buffer[0]; // so that some are equal
        const int op = random.below(BINARY_LESS_EQUAL + 1);
        Buffer<T> out(elements(shape));
        launch(std::string("binary") + SUFFIX<T>, {2}, BLOCK, BinaryArgs{space(shape), a.view(), b.view(), out.data(), op, 0});
        agree<T>("binary", out, [&](Index i) { return binary(op, a.at(i), b.at(i)); });
      }
    }
  }
  for (int op = BINARY_ADD; op <= BINARY_LESS_EQUAL; ++op) {
    Operand<T> a({257}, Layout::Contiguous, random), b({257}, Layout::Contiguous, random);
    a.buffer[3] = rounded<T>(NAN), a.buffer[4] = b.buffer[4], b.buffer[5] = rounded<T>(0.0), a.buffer[6] = rounded<T>(INFINITY);
    Buffer<T> out(257);
    launch(std::string("binary") + SUFFIX<T>, {1}, BLOCK, BinaryArgs{space({257}), a.view(), b.view(), out.data(), op, 0});
    agree<T>("every operation", out, [&](Index i) { return binary(op, a.at(i), b.at(i)); });
  }
}
TEST(elementwise, binary) { test_binary<float>(), test_binary<Bf16>(); }

template <class T>
void test_select() {
  Random random(3);
  for (const Shape& shape : SHAPES) {
    for (Layout layout : LAYOUTS) {
      Operand<T> mask(shape, layout, random), yes(shape, Layout::Contiguous, random), no(shape, Layout::StretchedInner, random);
      for (Index i = 0; i < mask.buffer.size(); i += 2) mask.buffer[i] = rounded<T>(0.0);
      if (mask.buffer.size() > 3) mask.buffer[3] = rounded<T>(NAN);
      yes.buffer[0] = rounded<T>(NAN); // not selected: contributes nothing
      Buffer<T> out(elements(shape));
      launch(std::string("select") + SUFFIX<T>, {2}, BLOCK, SelectArgs{space(shape), mask.view(), yes.view(), no.view(), out.data()});
      agree<T>("select", out, [&](Index i) { return Wanted{mask.at(i) != 0 ? yes.at(i) : no.at(i), 0}; });
    }
  }
}
TEST(elementwise, select) { test_select<float>(), test_select<Bf16>(); }

template <class T>
void test_combine() {
  Random random(4);
  for (const Shape& shape : SHAPES) {
    for (int terms = 1; terms <= MFM_MAX_INPUTS; ++terms) {
      std::vector<Operand<T>> x;
      CombineArgs args{};
      args.space = space(shape), args.terms = terms;
      for (int k = 0; k < terms; ++k) {
        x.emplace_back(shape, LAYOUTS[random.below(int(std::size(LAYOUTS)))], random);
        args.x[k] = x.back().view();
        args.factor[k] = float(random.normal());
      }
      Buffer<T> out(elements(shape));
      args.out = out.data();
      launch(std::string("combine") + SUFFIX<T>, {2}, BLOCK, args);
      agree<T>("combine", out, [&](Index i) {
        Wanted sum{0, 0};
        for (int k = 0; k < terms; ++k) sum.value += double(args.factor[k]) * x[std::size_t(k)].at(i), sum.unit += std::fabs(args.factor[k] * x[std::size_t(k)].at(i));
        return sum;
      });
    }
  }
}
TEST(elementwise, combine) { test_combine<float>(), test_combine<Bf16>(); }

template <class T>
void test_activation() {
  Random random(6);
  for (Index n : {1, 7, 8, 256, 1029, 5001}) {
    for (Layout layout : {Layout::Contiguous, Layout::Unaligned}) {
      for (int op = ACTIVATION_IDENTITY; op <= ACTIVATION_TANH; ++op) {
        // Far out a rounding of GELU's inner polynomial costs many units; a long sample would reach there.
        Operand<T> x({n}, layout, random, n > 2000 ? 1.0 : 2.0), g({n}, Layout::Contiguous, random);
        Buffer<T> out(n), gradient(n), value(n), tangent(n);
        const auto wanted = [&](Index i) { return Wanted{activation(op, x.at(i)), std::fabs(activation(op, x.at(i)))}; };
        // The sum within the slope may cancel.
        const auto slopes = [&](Index i) { return Wanted{slope(op, x.at(i)) * g.at(i), (1 + std::fabs(x.at(i))) * std::fabs(g.at(i))}; };
        launch(std::string("activate") + SUFFIX<T>, {2}, BLOCK, ActivateArgs{n, x.buffer.data(), nullptr, out.data(), nullptr, op, 0});
        agree<T>("activate", out, wanted);
        launch(std::string("activate_vjp") + SUFFIX<T>, {2}, BLOCK, ActivateArgs{n, x.buffer.data(), g.buffer.data(), gradient.data(), nullptr, op, 0});
        agree<T>("activate_vjp", gradient, slopes);
        launch(std::string("activate_jvp") + SUFFIX<T>, {2}, BLOCK, ActivateArgs{n, x.buffer.data(), g.buffer.data(), value.data(), tangent.data(), op, 0});
        agree<T>("the value of activate_jvp", value, wanted);
        agree<T>("activate_jvp", tangent, slopes);
      }
    }
  }
}
TEST(elementwise, activation) { test_activation<float>(), test_activation<Bf16>(); }

} // namespace
