#include "judge.hpp"

using namespace judge;

namespace {

// Attention in f64 with everything that its derivatives need.
template <class T>
struct Exact {
  Index queries, keys, width;
  const Operand<T>&q, &k, &v;
  double scale;
  std::vector<double> weights, scores, logsum, out, size; // size: Σ w |v|

  double at(const Operand<T>& x, Index entry, Index row, Index c) const { return x.at(std::vector<Index>{entry, row, c}); }
  double product(const Operand<T>& x, const Operand<T>& y, Index entry, Index i, Index j) const {
    double sum = 0;
    for (Index c = 0; c < width; ++c) sum += at(x, entry, i, c) * at(y, entry, j, c);
    return sum;
  }
  double& weight(Index entry, Index i, Index j) { return weights[std::size_t((entry * queries + i) * keys + j)]; }

  Exact(const Operand<T>& q, const Operand<T>& k, const Operand<T>& v)
      : queries(q.shape[1]), keys(k.shape[1]), width(q.shape[2]), q(q), k(k), v(v), scale(1 / std::sqrt(double(width))) {
    const Index batch = q.shape[0];
    weights.resize(std::size_t(batch * queries * keys)), logsum.resize(std::size_t(batch * queries));
    out.resize(std::size_t(batch * queries * width)), size.resize(out.size());
    for (Index e = 0; e < batch; ++e) {
      for (Index i = 0; i < queries; ++i) {
        double largest = -INFINITY, sum = 0;
        for (Index j = 0; j < keys; ++j) largest = std::max(largest, weight(e, i, j) = scale * product(q, k, e, i, j));
        for (Index j = 0; j < keys; ++j) sum += weight(e, i, j) = std::exp(weight(e, i, j) - largest);
        logsum[std::size_t(e * queries + i)] = largest + std::log(sum);
        for (Index j = 0; j < keys; ++j) {
          weight(e, i, j) /= sum;
          for (Index c = 0; c < width; ++c) {
            out[std::size_t((e * queries + i) * width + c)] += weight(e, i, j) * at(v, e, j, c);
            size[std::size_t((e * queries + i) * width + c)] += weight(e, i, j) * std::fabs(at(v, e, j, c));
          }
        }
      }
    }
  }
};

std::string name(const char* kernel, const char* suffix, Index width) {
  const Index step = std::string(suffix) == "_f32" ? 32 : 16;
  return std::string(kernel) + suffix + "_" + std::to_string((width + step - 1) / step * step);
}

template <class T>
Rows rows(const Operand<T>& x) {
  View view{x.buffer.data(), {x.place.stride[0]}};
  return {view, x.place.stride[1]};
}

// As many columns as whole vectors hold.
template <class T>
Index whole(Index width) {
  const Index lanes = 16 / Index(sizeof(T));
  return (width + lanes - 1) / lanes * lanes;
}

// [batch, rows, width] of normal numbers, whose rows end in zeros up to a whole vector.
template <class T>
Operand<T> filled(const Shape& shape, Layout layout, Random& random) {
  Operand<T> x({shape[0], shape[1], whole<T>(shape[2])}, layout, random);
  for (Index e = 0; e < shape[0]; ++e) {
    for (Index r = 0; r < shape[1]; ++r) {
      for (Index c = shape[2]; c < x.shape[2]; ++c) x.buffer[x.offset({e, r, c})] = rounded<T>(0);
    }
  }
  x.shape = shape;
  return x;
}

// [batch, rows, width] to be written, one row of each entry after another (`turned`), or one entry after another; `columns` a row, those after the last zero.
template <class T>
struct Result {
  Index batch, count, width, columns;
  bool turned;
  Buffer<T> buffer;

  Result(const Shape& shape, Index columns, bool turned)
      : batch(shape[0]), count(shape[1]), width(shape[2]), columns(columns), turned(turned), buffer(batch * count * columns) {
    for (Index i = 0; i < buffer.size(); ++i) {
      if (i % columns >= width) buffer[i] = rounded<T>(0);
    }
  }
  Rows rows() const {
    View view{buffer.data(), {turned ? columns : count * columns}};
    return {view, turned ? batch * columns : columns};
  }
  // What `wanted` says of the element in place i of [batch, rows, width], for place i of the buffer.
  template <class Wanting>
  void judge(const char* what, Wanting wanted) const {
    agree<T>(what, buffer, [&](Index i) {
      const Index column = i % columns, line = i / columns;
      if (column >= width) return Wanted{0, 0};
      const Index entry = turned ? line % batch : line / count, row = turned ? line / batch : line % count;
      return wanted((entry * count + row) * width + column);
    });
  }
  double at(Index i) const {
    const Index column = i % width, row = i / width % count, entry = i / width / count;
    return number(buffer[(turned ? row * batch + entry : entry * count + row) * columns + column]);
  }
};

// Whether there are kernels for heads of this width: a mutant is built for few.
bool is_built(Index width) {
#ifdef ATTENTION_NARROW
  return width > 16 && width <= 32;
#else
  return width > 0;
#endif
}

// All the same number.
template <class T>
void fill(Operand<T>& x, double value) {
  for (Index e = 0; e < x.shape[0]; ++e) {
    for (Index r = 0; r < x.shape[1]; ++r) {
      for (Index c = 0; c < x.shape[2]; ++c) x.buffer[x.offset({e, r, c})] = rounded<T>(value);
    }
  }
}

// Queries and keys are `opposed` numbers if that is not 0: so far below zero, scores have a weight of nearly 0 beside that of a key that is not there.
template <class T>
void test_attention(Index batch, Index queries, Index keys, Index width, Layout layout, int missing, Random& random, double opposed = 0) {
  if (!is_built(width)) return;
  const Shape q_shape{batch, queries, width}, k_shape{batch, keys, width};
  const auto of_queries = [&] { return filled<T>(q_shape, layout, random); };
  const auto of_keys = [&] { return filled<T>(k_shape, layout == Layout::Contiguous && batch > 1 ? Layout::StretchedOuter : layout, random); };
  Operand<T> q = of_queries(), k = of_keys();
  if (opposed != 0) fill(q, opposed), fill(k, -opposed);
  const Operand<T> v = of_keys(), tq = of_queries(), tk = of_keys(), tv = of_keys(), g = of_queries();
  Exact<T> exact(q, k, v);
  context.text = "attention" + std::string(SUFFIX<T>) + " of " + std::to_string(queries) + " queries, " + std::to_string(keys) + " keys, width " + std::to_string(width);

  const bool turned = missing % 2 == 0;
  const Result<T> out(q_shape, whole<T>(width), turned), gq(q_shape, width, turned), gk(k_shape, width, !turned), gv(k_shape, whole<T>(width), turned),
      again(q_shape, width, !turned), tangent(q_shape, width, turned);
  Buffer<float> logsum(batch * queries), delta(batch * queries);
  AttentionArgs args{};
  args.batch = space({batch}), args.q = rows(q), args.k = rows(k), args.v = rows(v);
  args.queries = queries, args.keys = keys, args.width = int(width);
  args.out = out.rows(), args.logsum = missing == 7 ? nullptr : logsum.data();
  const auto blocks = [&](Index n) { return Extent{unsigned((n + 63) / 64), unsigned(batch > 1 ? batch - 1 : 1)}; };
  const auto value = [&](Index i) { return Wanted{exact.out[std::size_t(i)], 3 * exact.size[std::size_t(i)] + 1e-3}; };
  launch(name("attention", SUFFIX<T>, width), blocks(queries), {128}, args);
  out.judge("value", value);
  args.logsum = logsum.data();
  if (missing == 7) launch(name("attention", SUFFIX<T>, width), blocks(queries), {128}, args);
  const auto in_twos = [&](Index i) { return exact.logsum[std::size_t(i)] / std::log(2.0); };
  agree<float>("logsum", logsum, [&](Index i) { return Wanted{in_twos(i), 3 + std::fabs(in_twos(i))}; }, 2e-6);
  if (keys == 0) return;

  // Pullback: w(g·v − delta), with the sizes of the sums beside it.
  args.g = rows(g), args.delta = delta.data();
  if (!(missing & 4)) args.gq = gq.rows();
  if (!(missing & 1)) args.gk = gk.rows();
  if (!(missing & 2)) args.gv = gv.rows();
  launch(name("attention_vjp_query", SUFFIX<T>, width), blocks(queries), {128}, args);
  std::vector<double> d(std::size_t(batch * queries), 0), d_size(d.size(), 0);
  for (Index i = 0; i < batch * queries * width; ++i) d[std::size_t(i / width)] += g.at(i) * out.at(i), d_size[std::size_t(i / width)] += std::fabs(g.at(i) * out.at(i));
  agree<float>("delta", delta, [&](Index i) { return Wanted{d[std::size_t(i)], d_size[std::size_t(i)]}; }, 2e-6);
  launch(name("attention_vjp_key", SUFFIX<T>, width), blocks(keys), {128}, args);
  std::vector<Wanted> wq(std::size_t(batch * queries * width), {0, 0}), wk(std::size_t(batch * keys * width), {0, 0}), wv = wk;
  for (Index e = 0; e < batch; ++e) {
    for (Index i = 0; i < queries; ++i) {
      for (Index j = 0; j < keys; ++j) {
        const double w = exact.weight(e, i, j);
        double slope = 0, size = 0;
        for (Index c = 0; c < width; ++c) {
          const double part = exact.at(g, e, i, c) * (exact.at(v, e, j, c) - exact.out[std::size_t((e * queries + i) * width + c)]);
          slope += part, size += std::fabs(exact.at(g, e, i, c)) * (std::fabs(exact.at(v, e, j, c)) + exact.size[std::size_t((e * queries + i) * width + c)]);
        }
        for (Index c = 0; c < width; ++c) {
          const auto add = [&](Wanted& to, double x, double unit) { to.value += x, to.unit += std::fabs(unit); };
          add(wq[std::size_t((e * queries + i) * width + c)], exact.scale * w * slope * exact.at(k, e, j, c), 3 * exact.scale * w * size * exact.at(k, e, j, c));
          add(wk[std::size_t((e * keys + j) * width + c)], exact.scale * w * slope * exact.at(q, e, i, c), 3 * exact.scale * w * size * exact.at(q, e, i, c));
          add(wv[std::size_t((e * keys + j) * width + c)], w * exact.at(g, e, i, c), 3 * w * exact.at(g, e, i, c));
        }
      }
    }
  }
  if (!(missing & 4)) gq.judge("gq", [&](Index i) { return wq[std::size_t(i)]; });
  if (!(missing & 1)) gk.judge("gk", [&](Index i) { return wk[std::size_t(i)]; });
  if (!(missing & 2)) gv.judge("gv", [&](Index i) { return wv[std::size_t(i)]; });

  if (!(missing & 1)) args.tq = rows(tq);
  if (!(missing & 2)) args.tk = rows(tk);
  if (!(missing & 4)) args.tv = rows(tv);
  args.out = again.rows(), args.tangent = tangent.rows(), args.logsum = nullptr;
  launch(name("attention_jvp", SUFFIX<T>, width), blocks(queries), {128}, args);
  again.judge("the value of the jvp", value);
  std::vector<Wanted> moved(std::size_t(batch * queries * width), {0, 0});
  for (Index e = 0; e < batch; ++e) {
    for (Index i = 0; i < queries; ++i) {
      for (Index j = 0; j < keys; ++j) {
        const double w = exact.weight(e, i, j);
        double s = 0, size = 0;
        for (Index c = 0; c < width; ++c) {
          const double parts[2] = {missing & 1 ? 0 : exact.at(tq, e, i, c) * exact.at(k, e, j, c), missing & 2 ? 0 : exact.at(q, e, i, c) * exact.at(tk, e, j, c)};
          s += exact.scale * (parts[0] + parts[1]), size += exact.scale * (std::fabs(parts[0]) + std::fabs(parts[1]));
        }
        for (Index c = 0; c < width; ++c) {
          Wanted& to = moved[std::size_t((e * queries + i) * width + c)];
          const std::size_t place = std::size_t((e * queries + i) * width + c);
          const double here = exact.at(v, e, j, c), more = missing & 4 ? 0 : exact.at(tv, e, j, c);
          to.value += w * (s * (here - exact.out[place]) + more);
          to.unit += 3 * w * (size * (std::fabs(here) + exact.size[place]) + std::fabs(more));
        }
      }
    }
  }
  tangent.judge("jvp", [&](Index i) { return moved[std::size_t(i)]; });
}

template <class T>
void test_all() {
  Random random(1);
  // Every capacity, with heads that fill it and heads that do not.
  for (Index width = 8; width <= 128; width += 8) test_attention<T>(1, 17, 37, width, Layout::Contiguous, 0, random);
  for (Index width : {1, 3, 17, 31, 33, 70, 125}) test_attention<T>(1, 5, 9, width, Layout::Contiguous, 0, random);
  // Around the sizes of warps and tiles, more than a block, batches that are looped over and stretched.
  for (Layout layout : {Layout::Contiguous, Layout::PaddedByVectors}) {
    test_attention<T>(1, 1, 1, 24, layout, 0, random);
    test_attention<T>(2, 70, 33, 32, layout, 0, random);
    test_attention<T>(3, 16, 65, 24, layout, 0, random);
    test_attention<T>(1, 65, 130, 72, layout, 0, random);
    test_attention<T>(1, 130, 65, 24, layout, 0, random);
  }
  for (int missing = 1; missing < 8; ++missing) test_attention<T>(2, 9, 20, 24, Layout::Contiguous, missing, random);
}
// Where there are more keys in a tile than there are, and 2^(−logsum) overflows.
template <class T>
void test_far_below_zero() {
  Random random(2);
  for (Index keys : {9, 17, 40}) test_attention<T>(1, 9, keys, 24, Layout::Contiguous, 0, random, 6);
}
TEST(attention, far_below_zero) { test_far_below_zero<float>(), test_far_below_zero<Bf16>(); }

TEST(attention, value_and_derivatives) { test_all<float>(), test_all<Bf16>(); }

} // namespace
