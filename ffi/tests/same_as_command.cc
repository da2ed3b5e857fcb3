// The command `mfm` and this library give the same numbers, bit for bit: same model, seed and device. The command writes .npy files; the folder
// is the test's own.
//
//   same_as_command MFM
#include "check.hpp"

#include <cctype>
#include <cstdlib>
#include <fstream>

namespace {

using numbers = std::vector<float>;
constexpr std::size_t dimension = 64, count = 20;

std::string command;

void run(const std::string& arguments) {
  const std::string line = "'" + command + "' --quiet --seed 7 " + arguments;
  std::printf("mfm %s\n", arguments.c_str());
  std::fflush(stdout);
  CHECK(std::system(line.c_str()) == 0);
}

/// The float32 numbers after the header of a .npy file.
numbers read_npy(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  CHECK(bytes.size() > 10 && bytes.compare(1, 5, "NUMPY") == 0 && bytes.find("<f4") != std::string::npos);
  if (bytes.size() <= 10) return {};
  const std::size_t start = 10 + static_cast<unsigned char>(bytes[8]) + 256 * static_cast<unsigned char>(bytes[9]);
  numbers values((bytes.size() - start) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + start, values.size() * sizeof(float));
  return values;
}

/// The numbers of a list in a JSON report, lists of lists one after another. They are written in full.
numbers read_json(const char* path, const std::string& name) {
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t key = text.find('"' + name + '"');
  CHECK(key != std::string::npos);
  if (key == std::string::npos) return {};
  numbers values;
  int depth = 0;
  for (const char* at = text.c_str() + text.find('[', key); *at;) {
    if (*at == '[') ++depth, ++at;
    else if (*at == ']' && --depth == 0) break;
    else if (char* end = nullptr; (*at == '-' || std::isdigit(static_cast<unsigned char>(*at)))) {
      values.push_back(static_cast<float>(std::strtod(at, &end)));
      at = end;
    } else ++at;
  }
  return values;
}

bool same(const numbers& ours, const numbers& theirs) {
  return !ours.empty() && ours.size() == theirs.size() && std::memcmp(ours.data(), theirs.data(), ours.size() * sizeof(float)) == 0;
}

bool same(const numbers& ours, const char* path) {
  return same(ours, read_npy(path));
}

/// What the command warns of when it samples a model by its jumps.
std::string warning(const mfm::model& model) {
  CHECK(model.try_save("warned.mfm").ok());
  CHECK(std::system(("'" + command + "' sample warned.mfm -n 1 -o warned.npy 2> warning.txt").c_str()) == 0);
  std::ifstream file("warning.txt");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("warning: ", 0) == 0) return line;
  return {};
}

}  // namespace

int main(int arguments, char** values) {
  if (arguments != 2 || !values[1][0]) {
    std::puts("skipped: no command mfm was given (cmake -DMFM_COMMAND=...)");
    return 77;
  }
  command = values[1];
  const std::string file = std::string("'") + MODEL + "'", n = " -n " + std::to_string(count);
  const mfm::model model = the_model();
  mfm::session session = a_session(model, {2, nullptr, {}, {}});

  const struct {
    mfm_method method;
    std::size_t steps;
    const char* option;
  } methods[] = {{MFM_METHOD_MAP, 1, "--steps 1"}, {MFM_METHOD_MAP, 3, "--steps 3"}, {MFM_METHOD_REFINEMENT, 3, "--refine 3"},
                 {MFM_METHOD_ODE, 4, "--ode 4"}, {MFM_METHOD_SDE, 4, "--sde 4"}};
  for (const auto& way : methods) {
    run("sample " + file + n + " " + way.option + " -o same.npy");
    mfm::sample_options options;
    options.draw.seed = 7;
    options.method = way.method;
    options.steps = way.steps;
    numbers samples(count * dimension);
    CHECK(session.try_sample(samples, options).ok() && same(samples, "same.npy"));
  }

  // States: the samples of the last method, as the command wrote them.
  const numbers states = read_npy("same.npy");
  run("posterior " + file + " --state same.npy --time 0.4 --draws 5 -o draws.npy");
  mfm::posterior_options posterior;
  posterior.draw.seed = 7;
  posterior.time = 0.4;
  posterior.draws = 5;
  numbers draws(5 * states.size());
  CHECK(session.try_posterior(states, draws, posterior).ok() && same(draws, "draws.npy"));

  // The command's linear reward, with the same operations: h x, summed in the order in which the library sums.
  numbers slope(dimension);
  std::string text = "linear:";
  for (std::size_t k = 0; k < dimension; ++k) {
    // One number that is not zero, so that no order of summation can matter.
    slope[k] = k == 27 ? 0.25f : 0.0f;
    text += (k == 0 ? "" : ",") + std::to_string(slope[k]);
  }
  const auto linear = [&](mfm::batch x, mfm::span<float> rewards, mfm::span<float> gradients) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      rewards[i] = x[i][27] * slope[27];
      for (std::size_t k = 0; gradients.size() > 0 && k < dimension; ++k) gradients[i * dimension + k] = slope[k];
    }
  };
  // Values, and their gradients.
  mfm::value_options value;
  value.draw.seed = 7;
  value.time = 0.4;
  value.draws = 6;
  numbers its_value(count), its_gradient(states.size());
  run("value " + file + " --state same.npy --time 0.4 --draws 6 --reward " + text + " --json value.json > value.txt");
  CHECK(session.try_value(linear, states, its_value, value).ok() && same(its_value, read_json("value.json", "values")));
  run("value " + file + " --state same.npy --time 0.4 --draws 6 --reward " + text + " --gradient --json value.json > value.txt");
  CHECK(session.try_value_and_gradient(linear, states, its_value, its_gradient, value).ok());
  CHECK(same(its_value, read_json("value.json", "values")) && same(its_gradient, read_json("value.json", "gradients")));

  const char* names[] = {"unsteered", "dps", "mfm-g", "mfm-gf", "resampled", "mcmc", "best-of-n", "smc", "mfm-smc"};
  for (std::uint32_t estimator = 0; estimator < 9; ++estimator) {
    // Both refuse draws where none are made.
    const std::string four = makes_draws(estimator) ? " --draws 4" : "";
    run("steer " + file + n + " --reward " + text + " --estimator " + names[estimator] + " --steps 3" + four + " -o steered.npy");
    mfm::steer_options options;
    options.draw.seed = 7;
    options.estimator = estimator;
    options.steps = 3;
    options.draws = makes_draws(estimator) ? 4 : 0;
    numbers samples(count * dimension);
    CHECK(session.try_steer(linear, samples, options).ok() && same(samples, "steered.npy"));
  }
  run("steer " + file + n + " --reward " + text + " --estimator mfm-gf --steps 3 --draws 4 --dynamics sde --clip 0.5 --damping 0.8"
      " --start 0.02 --power 1.5 --steer-until 0.9 -o steered.npy");
  mfm::steer_options options;
  options.draw.seed = 7;
  options.estimator = MFM_GRADIENT_FREE;
  options.steps = 3;
  options.draws = 4;
  options.sde = 1;
  options.clip = 0.5;
  options.damping = 0.8;
  options.start = 0.02;
  options.power = 1.5;
  options.window_end = 0.9;
  numbers samples(count * dimension), rewards(count);
  CHECK(session.try_steer(linear, samples, options).ok() && same(samples, "steered.npy"));
  // With the defaults of both sides.
  run("steer " + file + n + " --reward " + text + " -o steered.npy");
  mfm::steer_options defaults;
  defaults.draw.seed = 7;
  CHECK(session.try_steer(linear, samples, defaults).ok() && same(samples, "steered.npy"));
  run("steer " + file + n + " --reward " + text + " --estimator search --steps 3 --draws 4 --keep-overall -o steered.npy");
  mfm::search_options search;
  search.draw.seed = 7;
  search.steps = 3;
  search.draws = 4;
  search.keep_overall = 1;
  CHECK(session.try_search(linear, samples, rewards, search).ok() && same(samples, "steered.npy"));

  // Training: the same model comes out, seen by its samples, in either kind of coordinates.
  mfm::architecture form(dimension);
  form.width = 16;
  form.depth = 2;
  form.seed = 7;
  mfm::training_options training;
  training.seed = 7;
  training.steps = 5;
  training.batch = 8;
  mfm::model fresh, ours, theirs;
  numbers a(count * dimension), b(a.size());
  for (form.raw = 0; form.raw < 2; ++form.raw) {
    run(std::string("train same.npy --out trained.mfm --width 16 --depth 2 --steps 5 --batch 8") + (form.raw ? " --raw" : ""));
    CHECK(mfm::model::try_create(form, states, fresh).ok());
    CHECK(a_session(fresh).try_train(states, ours, training).ok());
    CHECK(mfm::model::try_load("trained.mfm", theirs).ok());
    CHECK(a_session(ours).try_sample(a).ok() && a_session(theirs).try_sample(b).ok() && same(a, b));
  }

  // Fine-tuning, on the model's own samples and on data: also the seed that it is made from is the command's.
  for (bool own : {true, false}) {
    run("finetune " + file + " --reward " + text + (own ? "" : " --data same.npy") +
        " --out tuned.mfm --steps 5 --batch 8 --learning-rate 2e-4 --warm-up 2 --ema 0.999");
    mfm::fine_tuning_options tuning;
    tuning.seed = 7;
    tuning.steps = 5;
    tuning.batch = 8;
    tuning.warm_up = 2;
    CHECK(session.try_fine_tune(linear, ours, tuning, own ? mfm::span<const float>() : mfm::span<const float>(states)).ok());
    CHECK(mfm::model::try_load("tuned.mfm", theirs).ok() && ours.info().seed == theirs.info().seed);
    CHECK(a_session(ours).try_sample(a).ok() && a_session(theirs).try_sample(b).ok() && same(a, b));
  }

  // The command knows also of this library's models which have jumps that mean nothing.
  mfm::fine_tuning_options tuning;
  tuning.steps = 1;
  tuning.batch = 4;
  for (const double follow : {0.0, 1.0}) {
    tuning.follow = follow;
    CHECK(session.try_fine_tune(linear, ours, tuning).ok());
    CHECK((warning(ours).find("fine-tuned in its drift alone") != std::string::npos) == (follow == 0));
  }
  training.steps = 1;
  for (training.consistency = MFM_SEMIGROUP; training.consistency <= MFM_NO_CONSISTENCY; ++training.consistency) {
    CHECK(session.try_train(states, ours, training).ok());
    CHECK((warning(ours).find("trained by velocities alone") != std::string::npos) == (training.consistency == MFM_NO_CONSISTENCY));
  }

  // A transformer of the command's: it tells of the scales of guidance that it was made for, and takes no other.
  run("train --digits --labels --network dit --size 32x2x2 --patch 4 --guidance 2 --steps 1 --batch 4 --out dit.mfm");
  CHECK(mfm::model::try_load("dit.mfm", theirs).ok());
  const mfm_model_info info = theirs.info();
  CHECK(info.labels == 10 && info.guidance_count == 2 && info.guidance && info.guidance[0] == 1 && info.guidance[1] == 2);
  mfm::session transformer = a_session(theirs);
  mfm::sample_options labelled;
  labelled.draw.seed = 7;
  labelled.set_label(3);
  labelled.set_guidance_scale(info.guidance[1]);
  run("sample dit.mfm" + n + " --steps 1 --label 3 --guidance 2 -o same.npy");
  CHECK(transformer.try_sample(samples, labelled).ok() && same(samples, "same.npy"));
  labelled.set_guidance_scale(3);
  expect(transformer.try_sample(samples, labelled), MFM_RANGE, "a scale that the model was not made for");

  // Another model of labels takes any scale, unless it was trained to be guided.
  const std::string train = "train --digits --labels --objective flow --width 16 --depth 1 --steps 2 --batch 4 --out ";
  run(train + "free.mfm");
  run(train + "bound.mfm --guidance 2");
  CHECK(mfm::model::try_load("free.mfm", theirs).ok());
  run("sample free.mfm" + n + " --ode 3 --label 3 --guidance 3 -o free.npy");
  labelled.method = MFM_METHOD_ODE;
  labelled.steps = 3;
  CHECK(theirs.info().guidance_count == 0 && a_session(theirs).try_sample(samples, labelled).ok() && same(samples, "free.npy"));
  CHECK(mfm::model::try_load("bound.mfm", theirs).ok());
  expect(a_session(theirs).try_sample(samples, labelled), MFM_UNSUPPORTED, "a model that is guided by 2 already");
  labelled.set_guidance({});
  CHECK(a_session(theirs).try_sample(samples, labelled).ok() && !same(samples, "free.npy"));
  return finish();
}
