#include "judge.hpp"

using namespace judge;

namespace {

// Gradients in G for a state in T.
template <class G, class T>
void test_optimiser() {
  constexpr unsigned BLOCKS = 2;
  Random random(1);
  for (int op : {OPTIMISER_ADAM, OPTIMISER_PLAIN}) {
    for (bool in_place : {false, true}) {
      for (Index n : {1, 7, 8, 300, 2051}) {
        const Layout layout = n == 300 ? Layout::Unaligned : Layout::Contiguous;
        const auto any = [&] { return Operand<T>({n}, layout, random); };
        Operand<T> parameters = any(), first = any(), second = any(), average = any();
        const Operand<G> gradient({n}, layout, random);
        for (Index i = 0; i < n; ++i) second.buffer[i] = rounded<T>(std::fabs(second.at(i)));
        const bool averaged = n != 7;
        const Operand<T>* const in[4] = {&parameters, &first, &second, &average};
        std::vector<Buffer<T>> out;
        const void* from[4];
        for (int k = 0; k < 4; ++k) {
          out.emplace_back(n);
          // In place, the old values are judged from copies.
          if (in_place) std::memcpy(out.back().data(), in[k]->buffer.data(), std::size_t(n) * sizeof(T));
        }
        for (int k = 0; k < 4; ++k) from[k] = in_place ? out[std::size_t(k)].data() : in[k]->buffer.data();
        // A state in f32 may be asked for its parameters in bf16.
        Buffer<Bf16> working(n);
        Buffer<float> sums(BLOCKS);
        void* const asked = sizeof(T) == 4 && n != 8 ? working.data() : nullptr;
        const OptimiserArgs args{n, from[0], gradient.buffer.data(), from[1], from[2], averaged ? from[3] : nullptr, out[0].data(), out[1].data(),
                                 out[2].data(), averaged ? out[3].data() : nullptr, asked, sums.data(), 0.9f, 0.1f, 0.999f, 0.001f, 0.95f, 0.05f, 1e-4f, 0.01f, 0.999f, op};
        launch(std::string("optimiser") + SUFFIX<G> + SUFFIX<T>, {BLOCKS}, {256}, args);
        const double b1 = args.first_decay, r1 = args.first_rest, b2 = args.second_decay, r2 = args.second_rest;
        const auto new_first = [&](Index i) { return b1 * first.at(i) + r1 * gradient.at(i); };
        const auto new_second = [&](Index i) { return b2 * second.at(i) + r2 * std::pow(gradient.at(i), 2); };
        const auto direction = [&](Index i) {
          return op == OPTIMISER_PLAIN ? new_first(i) : new_first(i) / (std::sqrt(new_second(i)) + double(args.epsilon));
        };
        const auto parameter = [&](Index i) { return double(args.keep) * parameters.at(i) - double(args.step) * direction(i); };
        const auto size = [&](Index i) { return std::fabs(first.at(i)) + std::fabs(gradient.at(i)); };
        const auto change = [&](Index i) { return double(args.step) * size(i) * (op == OPTIMISER_PLAIN ? 1 : 1 / std::sqrt(new_second(i))); };
        agree<T>("first", out[1], [&](Index i) { return Wanted{new_first(i), size(i)}; });
        agree<T>("second", out[2], [&](Index i) { return Wanted{new_second(i), new_second(i)}; });
        agree<T>("parameters", out[0], [&](Index i) { return Wanted{parameter(i), std::fabs(parameters.at(i)) + change(i)}; });
        if (asked != nullptr) agree<Bf16>("working", working, [&](Index i) { return Wanted{number(rounded<Bf16>(number(out[0][i]))), 0}; });
        Wanted sum{0, 0};
        for (Index i = 0; i < n; ++i) sum.value += parameter(i), sum.unit += std::fabs(parameters.at(i)) + change(i);
        sums[0] += sums[1];
        sums[1] = 0;
        agree<float>("sum", sums, [&](Index i) { return i == 0 ? sum : Wanted{0, 0}; }, 2e-6);
        if (!averaged) continue;
        agree<T>("average", out[3], [&](Index i) {
          return Wanted{double(args.average_decay) * average.at(i) + double(args.average_rest) * parameter(i), std::fabs(average.at(i)) + std::fabs(parameter(i)) + change(i)};
        });
      }
    }
  }
}
TEST(optimiser, step) { test_optimiser<float, float>(), test_optimiser<Bf16, Bf16>(), test_optimiser<Bf16, float>(); }

} // namespace
