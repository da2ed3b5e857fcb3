//! Fine-tuning: the drift becomes that of the tilted law, which a mixture knows in closed form.
#![allow(clippy::unwrap_used)] // also in helpers of tests

mod common;

use common::Folder;
use mfm_cli::context::{Context, Verbosity};
use mfm_cli::training::fine_tuning::{FineTuned, Settings, fine_tune, sample};
use mfm_core::guidance::MfmGradient;
use mfm_core::interpolant::Linear;
use mfm_core::sample::sample_by_steps;
use mfm_core::steer::{Dynamics, Scheme, Steering, steer};
use mfm_core::training::{FineTuning, Objective, Velocities, WeightSlope};
use mfm_core::{Device, Draws, Flow, Noise, Shape, Tensor, TimeGrid};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::train::{FineTuningConfig, Samples, own_samples};
use mfm_nn::{GaussianConfig, LearningRate, MlpConfig, Model, ModelConfig, Trainer, TrainingConfig};
use mfm_toy2d::{Directions, GaussianMixture, QuadraticReward, sliced_wasserstein, tilt};
use std::ops::ControlFlow;

type F32 = CpuTensor<f32>;

/// r(x) = 0.9 x₁.
const SLOPE: [f64; 2] = [0.9, 0.0];
/// Samples by which a model is judged.
const N: usize = 4096;

fn context() -> Context<F32> {
    Context::new(CpuDevice::new(), 3, None, Verbosity::Quiet, None).unwrap()
}

/// Two blobs, at x₁ = ∓1.
fn mixture() -> GaussianMixture {
    let spread = [0.2, 0.0, 0.0, 0.2];
    GaussianMixture::from_parts(2, &[0.6, 0.4], &[-1.0, 0.3, 1.0, -0.3], &[spread, spread].concat()).unwrap()
}

fn draw(device: &CpuDevice<f32>, law: &GaussianMixture, size: usize, noise: &Noise) -> mfm_core::Result<F32> {
    device.from_slice(&law.sample(size, noise)?, Shape::new(&[size, 2])?)
}

/// A Meta Flow Map of the mixture.
fn base(context: &Context<F32>) -> Model<F32> {
    let law = mixture();
    let network = MlpConfig { width: 64, depth: 3, frequencies: 4, ..MlpConfig::new(2) };
    let config = ModelConfig::mlp(network).preconditioned(GaussianConfig::new(0.8));
    let model = Model::new(&context.device, &config, &law.mean(), &Noise::new(1)).unwrap();
    let settings =
        TrainingConfig { steps: 1200, batch: 512, rate: LearningRate::cosine(2e-3, 50), average: Some(0.99), ..TrainingConfig::default() };
    let mut trainer = Trainer::new(settings, &model).unwrap();
    let outcome = trainer.run(
        &mut |_: u64, size: usize, noise: &Noise| Ok(Samples { x1: draw(&context.device, &law, size, noise)?, labels: None }),
        |input| {
            let flow = Flow::new(input.frozen, &Linear);
            Objective::default().loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
        },
        |_, _| ControlFlow::Continue(()),
    );
    outcome.unwrap();
    trainer.averaged().unwrap()
}

fn settings() -> Settings {
    Settings {
        training: TrainingConfig { steps: 500, batch: 512, rate: LearningRate::cosine(1e-3, 20), seed: 11, ..Settings::default().training },
        samples: 512,
        ..Settings::default()
    }
}

/// The mean reward of samples, their sliced W2 to the tilted law, and its floor: that of exact samples.
fn judge(samples: &F32, strength: f64) -> (f64, f64, f64) {
    let points: Vec<f64> = samples.to_vec().unwrap();
    let reward = QuadraticReward::linear(&SLOPE.map(|slope| strength * slope), 0.0).unwrap();
    let target = tilt(&mixture(), &reward).unwrap().mixture;
    let directions = Directions::standard(2, &Noise::new(5)).unwrap();
    let exact = |seed: u64| target.sample(N, &Noise::new(seed)).unwrap();
    let distance = sliced_wasserstein(&points, &exact(6), &directions).unwrap();
    let floor = sliced_wasserstein(&exact(7), &exact(6), &directions).unwrap();
    (mean_reward(samples), distance, floor)
}

/// The exact mean reward of the mixture tilted by λ r.
fn exact(strength: f64) -> f64 {
    let reward = QuadraticReward::linear(&SLOPE.map(|slope| strength * slope), 0.0).unwrap();
    SLOPE[0] * tilt(&mixture(), &reward).unwrap().mixture.mean()[0]
}

/// The mean reward of a base that is steered by its own posterior draws, from `x`: where fine-tuning must come out, whatever its map misses.
fn steered(flow: &Flow<'_, Model<F32>>, strength: f64, x: &F32) -> f64 {
    let reward = QuadraticReward::linear(&SLOPE.map(|slope| strength * slope), 0.0).unwrap();
    let guide = MfmGradient { reward: &reward, draws: Draws::new(16) };
    let steering = Steering { dynamics: Dynamics::Ode, scheme: Scheme::Heun, grid: TimeGrid::uniform(16).starting_at(0.01) };
    mean_reward(&steer(flow, &guide, &steering, x, &Noise::new(4), &mut |_| Ok(())).unwrap())
}

fn mean_reward(samples: &F32) -> f64 {
    let points: Vec<f64> = samples.to_vec().unwrap();
    points.chunks(2).map(|x| SLOPE[0] * x[0]).sum::<f64>() / (points.len() / 2) as f64
}

// The gain is 0.88, and 0.47 at half the strength. A map this small misses part of it, by its seed up to 0.11 of four: asserted to 0.15. Fine-tuning adds
// nothing to what its map misses: it comes to the reward of steering by the same map, from the same 1,024 noises, to 0.03. Off policy, with a constant in the
// reward, and raw: the same law.
#[test]
fn the_outcome_is_the_tilted_law() {
    let context = context();
    let model = base(&context);
    let flow = Flow::new(&model, &Linear);
    let noise = context.device.normal(&Noise::new(9), Shape::new(&[N, 2]).unwrap()).unwrap();
    let few = noise.slice(0, 0, 1024).unwrap();
    let base_samples = sample(&flow, &noise).unwrap();
    let steered = [1.0, 0.5].map(|strength| steered(&flow, strength, &few));
    let check = |what: &str, tuned: &FineTuned<F32>, strength: f64, draws: usize, one_step: bool| {
        let (own, flow) = (steered[usize::from(strength == 0.5)], Flow::new(&tuned.model, &Linear));
        let reached = mean_reward(&sample(&flow, &few).unwrap());
        println!("{what}: mean reward {reached:.3}, steered by the same map {own:.3}");
        assert!((reached - own).abs() < 0.03, "{what}: {reached}, steered {own}");
        let mut all = vec![("ode", sample(&flow, &noise).unwrap())];
        if one_step {
            all.push(("one step", sample_by_steps(&flow, &TimeGrid::uniform(1), &noise).unwrap()));
        }
        let (before, far, floor) = judge(&base_samples, strength);
        for (how, samples) in all {
            let ((after, near, _), exact) = (judge(&samples, strength), exact(strength));
            println!(
                "{what}, {how}: mean reward {before:.3} to {after:.3}, exact {exact:.3}; sliced W2 {far:.3} to {near:.3}, floor {floor:.3}"
            );
            assert!((after - exact).abs() < 0.15 && exact - before > 0.4, "{what}, {how}: {after}, exact {exact}");
            assert!(near < 0.25 * far, "{what}, {how}: {far} to {near}");
        }
        let last = tuned.rows.last().unwrap();
        let draws = (512 * draws) as f64;
        assert!(last.mean_reward.is_some() && last.effective_sample_size > 0.1 * draws && last.effective_sample_size < draws, "{last:?}");
        assert_eq!(tuned.rows.iter().filter(|row| row.mean_reward.is_some()).count(), 10);
    };
    let reward = |offset: f64| QuadraticReward::linear(&SLOPE, offset).unwrap();

    let mut own = own_samples(flow, &context.device);
    let tuned_by = |tuning: FineTuningConfig| Settings { tuning, ..settings() };
    let of_drift = |objective| tuned_by(FineTuningConfig { objective, ..FineTuningConfig::default() });
    let follow = tuned_by(FineTuningConfig { follow: 1.0, ..FineTuningConfig::default() });
    let follow = Settings { training: TrainingConfig { steps: 1000, ..follow.training }, ..follow };
    let tuned = fine_tune(&context, &flow, &reward(0.0), &mut own, &follow, None).unwrap();
    check("its own samples, the map following", &tuned, 1.0, 1, true);
    let log_z = tilt(&mixture(), &reward(0.0)).unwrap().log_normaliser;
    assert!((tuned.log_mean.unwrap() - log_z).abs() < 0.05, "{:?} against {log_z}", tuned.log_mean);

    let wide = |_: u64, size: usize, noise: &Noise| {
        let rows = context.device.normal(noise, Shape::new(&[size, 2])?)?;
        Ok(Samples { x1: mfm_core::Operations::scale(&rows, 1.3)?, labels: None })
    };
    let half = of_drift(FineTuning { strength: 0.5, ..FineTuning::default() });
    check(
        "off policy, a constant of 200, half the strength",
        &fine_tune(&context, &flow, &reward(200.0), &mut { wide }, &half, None).unwrap(),
        0.5,
        1,
        false,
    );
    let free = of_drift(FineTuning { slope: WeightSlope::Covariance, draws: 4, ..FineTuning::default() });
    check("off policy, without gradients", &fine_tune(&context, &flow, &reward(0.0), &mut { wide }, &free, None).unwrap(), 1.0, 4, false);
    let raw = tuned_by(FineTuningConfig { normalised: false, ..FineTuningConfig::default() });
    let tuned = fine_tune(&context, &flow, &reward(0.0), &mut { wide }, &raw, None).unwrap();
    check("off policy, raw", &tuned, 1.0, 1, false);
    assert!(tuned.log_mean.is_none());
}

#[test]
fn the_command() {
    let folder = Folder::with_model();
    let tune = ["finetune", "model.mfm", "--reward", "linear:1,0", "-o", "tuned.mfm", "--steps", "20", "--batch", "64", "--samples", "100"];
    let report = folder.succeeds(&[&tune[..], &["--picture", "both.png", "--follow", "0.5", "--json", "-"]].concat());
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["mean_reward_after"].as_f64().unwrap() != report["mean_reward_before"].as_f64().unwrap());
    assert_eq!(report["losses"].as_array().unwrap().len(), 20);
    assert!(report["losses"][0]["follow"].is_number() && report["losses"][19]["mean_reward"].is_number());
    assert!(folder.read("both.png").starts_with(b"\x89PNG"));
    let info = folder.succeeds(&["info", "tuned.mfm"]);
    assert!(info.contains("the drift of model.mfm fine-tuned to 1 times linear:1,0, normalised weights"), "{info}");
    folder.succeeds(&["sample", "tuned.mfm", "-n", "5", "--ode", "8"]);
    let one = folder.read("tuned.mfm");
    folder.succeeds(&[&tune[..], &["--data", "points.csv", "--raw"]].concat());
    assert_ne!(folder.read("tuned.mfm"), one);
    let mut models = vec![one];
    for draws in [&[][..], &["--gradient-free"], &["--gradient-free", "--draws", "2"], &["--draws", "2"]] {
        folder.succeeds(&[&tune[..], draws].concat());
        models.push(folder.read("tuned.mfm"));
    }
    models.sort();
    models.dedup();
    assert_eq!(models.len(), 5, "draws or gradients make no difference");
    let info = folder.succeeds(&["info", "tuned.mfm"]);
    assert!(!info.contains("without its gradient"), "{info}");

    folder.refuses(&[&tune[..], &["--data", "missing.csv"]].concat(), &["missing.csv", "no such file"]);
    folder.refuses(&[&tune[..], &["--label", "0"]].concat(), &["--label 0", "knows no labels"]);
    folder.refuses(&[&tune[..], &["--picture", "both.csv"]].concat(), &["both.csv", "a picture is a .png file"]);
    folder.refuses(&[&tune[..], &["--earliest", "0"]].concat(), &["earliest time is 0"]);
    folder.refuses(&[&tune[..], &["--gradient-free", "--draws", "1"]].concat(), &["number of draws is 1", "at least 2 without gradients"]);
    // All weight on one draw is said, not only shown.
    let (_, err) = common::texts(&folder.run(&tune));
    assert!(!err.contains("collapsed"), "{err}");
    let (_, err) = common::texts(&folder.run(&[&tune[..], &["--strength", "20"]].concat()));
    assert!(err.contains("warning: the weights have collapsed: 1.") && err.contains(" of 64 posterior draws"), "{err}");
    folder.refuses(&[&tune[..], &["--strength", "1e6"]].concat(), &["the weight of a posterior draw"]);
    let reward = ["finetune", "model.mfm", "--reward", "linear:1e200,0", "-o", "t.mfm", "--steps", "3", "--batch", "8", "--raw"];
    folder.refuses(&reward, &["model.mfm: the reward", "is NaN or infinite"]);
    folder.refuses(&[&tune[..], &["--learning-rate", "1e30", "--clip", "0"]].concat(), &["model.mfm: fine-tuning: step", "learning rate"]);
}
