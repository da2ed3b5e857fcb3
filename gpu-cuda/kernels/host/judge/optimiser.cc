#include "judge.hpp"

using namespace judge;

namespace {

template <class T>
void test_optimiser() {
  Random random(1);
  for (int op : {OPTIMISER_ADAM, OPTIMISER_RADAM, OPTIMISER_RADAM_PLAIN}) {
    for (bool in_place : {false, true}) {
      OptimiserArgs args{nullptr, 0.9f, 0.99f, 1e-4f, 0.01f, 0.999f, 0.95f, op, 0};
      struct Tensor {
        Operand<T> parameters, gradient, first, second, average;
        std::vector<Buffer<T>> out;
      };
      std::vector<Tensor> tensors;
      std::vector<OptimiserTensor> table;
      for (Index n : {1, 7, 8, 300, 2051}) {
        const Layout layout = n == 300 ? Layout::Unaligned : Layout::Contiguous;
        const auto any = [&] { return Operand<T>({n}, layout, random); };
        Tensor t{any(), any(), any(), any(), any(), {}};
        for (Index i = 0; i < n; ++i) t.second.buffer[i] = rounded<T>(std::fabs(t.second.at(i)));
        for (int k = 0; k < 4; ++k) t.out.emplace_back(n);
        const bool averaged = n != 7;
        const Buffer<T>* const in[4] = {&t.parameters.buffer, &t.first.buffer, &t.second.buffer, &t.average.buffer};
        void* to[4];
        for (int k = 0; k < 4; ++k) {
          // In place, the old values are judged from copies.
          if (in_place) std::memcpy(t.out[std::size_t(k)].data(), in[k]->data(), std::size_t(n) * sizeof(T));
          to[k] = t.out[std::size_t(k)].data();
        }
        table.push_back({n, in_place ? to[0] : in[0]->data(), t.gradient.buffer.data(), in_place ? to[1] : in[1]->data(), in_place ? to[2] : in[2]->data(),
                         averaged ? (in_place ? to[3] : in[3]->data()) : nullptr, to[0], to[1], to[2], averaged ? to[3] : nullptr});
        tensors.push_back(t);
      }
      args.tensors = table.data();
      launch(std::string("optimiser") + SUFFIX<T>, {2, unsigned(table.size())}, {256}, args);
      for (std::size_t k = 0; k < tensors.size(); ++k) {
        const Tensor& t = tensors[k];
        const double b1 = args.first_decay, b2 = args.second_decay;
        const auto first = [&](Index i) { return b1 * t.first.at(i) + (1 - b1) * t.gradient.at(i); };
        const auto second = [&](Index i) { return b2 * t.second.at(i) + (1 - b2) * std::pow(t.gradient.at(i), 2); };
        const auto direction = [&](Index i) { return op == OPTIMISER_RADAM_PLAIN ? first(i) : first(i) / (std::sqrt(second(i)) + double(args.epsilon)); };
        const auto parameter = [&](Index i) { return double(args.keep) * t.parameters.at(i) - double(args.step) * direction(i); };
        const auto size = [&](Index i) { return std::fabs(t.first.at(i)) + std::fabs(t.gradient.at(i)); };
        const auto change = [&](Index i) { return double(args.step) * size(i) * (op == OPTIMISER_RADAM_PLAIN ? 1 : 1 / std::sqrt(second(i))); };
        agree<T>("first", t.out[1], [&](Index i) { return Wanted{first(i), size(i)}; });
        agree<T>("second", t.out[2], [&](Index i) { return Wanted{second(i), second(i)}; });
        agree<T>("parameters", t.out[0], [&](Index i) { return Wanted{parameter(i), std::fabs(t.parameters.at(i)) + change(i)}; });
        if (!table[k].average) continue;
        agree<T>("average", t.out[3], [&](Index i) {
          const double d = args.average_decay;
          return Wanted{d * t.average.at(i) + (1 - d) * parameter(i), std::fabs(t.average.at(i)) + std::fabs(parameter(i)) + change(i)};
        });
      }
    }
  }
}
TEST(optimiser, step) { test_optimiser<float>(), test_optimiser<Bf16>(); }

} // namespace
