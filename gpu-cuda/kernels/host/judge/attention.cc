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

// Whether there are kernels for heads of this width: a mutant is built for few.
bool is_built(Index width) {
#ifdef ATTENTION_NARROW
  return width > 16 && width <= 32;
#else
  return width > 0;
#endif
}

template <class T>
void test_attention(Index batch, Index queries, Index keys, Index width, Layout layout, int missing, Random& random) {
  if (!is_built(width)) return;
  const Shape q_shape{batch, queries, width}, k_shape{batch, keys, width};
  const auto of_queries = [&] { return Operand<T>(q_shape, layout, random); };
  const auto of_keys = [&] { return Operand<T>(k_shape, layout == Layout::Contiguous && batch > 1 ? Layout::StretchedOuter : layout, random); };
  const Operand<T> q = of_queries(), k = of_keys(), v = of_keys(), tq = of_queries(), tk = of_keys(), tv = of_keys();
  const Operand<T> g(q_shape, Layout::Contiguous, random);
  Exact<T> exact(q, k, v);
  context.text = "attention" + std::string(SUFFIX<T>) + " of " + std::to_string(queries) + " queries, " + std::to_string(keys) + " keys, width " + std::to_string(width);

  const Index result = batch * queries * width;
  Buffer<T> out(result), gq(result), gk(batch * keys * width), gv(batch * keys * width), again(result), tangent(result);
  Buffer<float> logsum(batch * queries), delta(batch * queries);
  AttentionArgs args{};
  args.batch = space({batch}), args.q = rows(q), args.k = rows(k), args.v = rows(v);
  args.queries = queries, args.keys = keys, args.width = int(width);
  args.out = out.data(), args.logsum = missing == 7 ? nullptr : logsum.data();
  const auto blocks = [&](Index n) { return Extent{unsigned((n + 63) / 64), unsigned(batch > 1 ? batch - 1 : 1)}; };
  const auto value = [&](Index i) { return Wanted{exact.out[std::size_t(i)], 3 * exact.size[std::size_t(i)] + 1e-3}; };
  launch(name("attention", SUFFIX<T>, width), blocks(queries), {128}, args);
  agree<T>("value", out, value);
  args.logsum = logsum.data();
  if (missing == 7) launch(name("attention", SUFFIX<T>, width), blocks(queries), {128}, args);
  agree<float>("logsum", logsum, [&](Index i) { return Wanted{exact.logsum[std::size_t(i)], 3 + std::fabs(exact.logsum[std::size_t(i)])}; }, 2e-6);
  if (keys == 0) return;

  // Pullback: w(g·v − delta), with the sizes of the sums beside it.
  args.g = g.buffer.data(), args.delta = delta.data(), args.gq = missing & 4 ? nullptr : gq.data(), args.gk = missing & 1 ? nullptr : gk.data(), args.gv = missing & 2 ? nullptr : gv.data();
  launch(name("attention_vjp_query", SUFFIX<T>, width), blocks(queries), {128}, args);
  std::vector<double> d(std::size_t(batch * queries), 0), d_size(d.size(), 0);
  for (Index i = 0; i < result; ++i) d[std::size_t(i / width)] += g.at(i) * number(out[i]), d_size[std::size_t(i / width)] += std::fabs(g.at(i) * number(out[i]));
  agree<float>("delta", delta, [&](Index i) { return Wanted{d[std::size_t(i)], d_size[std::size_t(i)]}; }, 2e-6);
  launch(name("attention_vjp_key", SUFFIX<T>, width), blocks(keys), {128}, args);
  std::vector<Wanted> wq(std::size_t(result), {0, 0}), wk(std::size_t(batch * keys * width), {0, 0}), wv = wk;
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
  if (args.gq) agree<T>("gq", gq, [&](Index i) { return wq[std::size_t(i)]; });
  if (args.gk) agree<T>("gk", gk, [&](Index i) { return wk[std::size_t(i)]; });
  if (args.gv) agree<T>("gv", gv, [&](Index i) { return wv[std::size_t(i)]; });

  if (!(missing & 1)) args.tq = rows(tq);
  if (!(missing & 2)) args.tk = rows(tk);
  if (!(missing & 4)) args.tv = rows(tv);
  args.out = again.data(), args.tangent = tangent.data(), args.logsum = nullptr;
  launch(name("attention_jvp", SUFFIX<T>, width), blocks(queries), {128}, args);
  agree<T>("the value of the jvp", again, value);
  std::vector<Wanted> moved(std::size_t(result), {0, 0});
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
  agree<T>("jvp", tangent, [&](Index i) { return moved[std::size_t(i)]; });
}

template <class T>
void test_all() {
  Random random(1);
  // Every capacity, with heads that fill it and heads that do not.
  for (Index width = 8; width <= 128; width += 8) test_attention<T>(1, 17, 37, width, Layout::Contiguous, 0, random);
  for (Index width : {1, 3, 17, 31, 33, 70, 125}) test_attention<T>(1, 5, 9, width, Layout::Contiguous, 0, random);
  // Around the sizes of warps and tiles, more than a block, batches that are looped over and stretched.
  for (Layout layout : {Layout::Contiguous, Layout::Unaligned, Layout::PaddedByVectors, Layout::Padded}) {
    test_attention<T>(1, 1, 1, 24, layout, 0, random);
    test_attention<T>(2, 70, 33, 32, layout, 0, random);
    test_attention<T>(3, 16, 65, 24, layout, 0, random);
    test_attention<T>(1, 65, 130, 72, layout, 0, random);
  }
  for (int missing = 1; missing < 8; ++missing) test_attention<T>(2, 9, 20, 24, Layout::Contiguous, missing, random);
}
TEST(attention, value_and_derivatives) { test_all<float>(), test_all<Bf16>(); }

} // namespace
