//! Fine-tuning by a trainer: what its loss keeps, and what it is fed.

use crate::common::values;
use mfm_core::interpolant::Linear;
use mfm_core::reward::{ByDifferentiation, RewardFormula};
use mfm_core::training::FineTuning;
use mfm_core::{Condition, Error, Flow, Noise, Operations, Result, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::train::{DataSource, FineTuner, FineTuningConfig, own_samples};
use mfm_nn::{LearningRate, MlpConfig, Model, ModelConfig, Trainer, TrainingConfig};
use std::ops::ControlFlow;

type F32 = CpuTensor<f32>;

/// r(x) = 100 + x₁.
struct Slope;

impl RewardFormula for Slope {
    fn evaluate<T: Tensor>(&self, x: &T) -> Result<T> {
        x.slice(1, 0, 1)?.sum(1)?.shift(100.0)
    }
}

fn model(device: &CpuDevice<f32>) -> Model<F32> {
    let network = MlpConfig { width: 8, depth: 2, frequencies: 2, labels: 3, zero_output: false, ..MlpConfig::new(2) };
    Model::new(device, &ModelConfig::mlp(network), &[], &Noise::new(1)).unwrap()
}

#[test]
fn a_run_that_goes_on_ends_as_if_it_had_never_stopped() {
    let (device, reward) = (CpuDevice::<f32>::new(), ByDifferentiation(Slope));
    let model = model(&device);
    let base = Flow::new(&model, &Linear).with_condition(Condition::labels(&[1]));
    let settings = TrainingConfig { steps: 6, batch: 16, rate: LearningRate::cosine(1e-2, 2), seed: 3, ..TrainingConfig::default() };
    for (follow, normalised) in [(0.0, true), (0.5, true), (0.0, false)] {
        let objective = FineTuning { strength: if normalised { 1.0 } else { 0.01 }, ..FineTuning::default() };
        let config = FineTuningConfig { objective, follow, normalised };
        let run = |trainer: &mut Trainer<F32, Model<F32>>, tuner: &FineTuner<'_, F32, _>, until: u64| {
            let mut losses = Vec::new();
            let outcome = trainer.run(
                &mut own_samples(base, &device),
                |input| tuner.loss(input),
                |_, step| {
                    assert_eq!(step.parts.len(), if follow > 0.0 { 2 } else { 1 });
                    assert!((tuner.report().mean_reward - 100.0).abs() < 10.0 && tuner.report().effective_sample_size > 1.0);
                    losses.push(step.loss_value().unwrap());
                    if step.step == until { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                },
            );
            outcome.unwrap();
            losses
        };
        let tuner = FineTuner::new(config, base, &reward).unwrap();
        let mut trainer = Trainer::new(settings, &model).unwrap();
        let whole = run(&mut trainer, &tuner, 6);

        let first = FineTuner::new(config, base, &reward).unwrap();
        let mut half = Trainer::new(settings, &model).unwrap();
        let mut parts = run(&mut half, &first, 3);
        let second = FineTuner::resume(config, base, &reward, &first.memory()).unwrap();
        let mut rest = Trainer::resume(settings, &model, half.state()).unwrap();
        parts.extend(run(&mut rest, &second, 6));
        assert_eq!(whole, parts);
        assert_eq!((tuner.log_mean(), tuner.memory()), (second.log_mean(), second.memory()));
        assert_eq!(tuner.log_mean().is_some(), normalised);
        assert_eq!(values(&trainer.state().optimiser.parameters), values(&rest.state().optimiser.parameters));
    }
    let resumed = |memory: &[f64]| FineTuner::resume(FineTuningConfig::default(), base, &reward, memory).map(|tuner| tuner.memory());
    assert_eq!(resumed(&[-0.1, 7.0]), Ok(vec![-0.1, 7.0]));
    assert!(resumed(&[1.0]).unwrap_err().to_string().contains("running mean"));
}

#[test]
fn settings_out_of_range() {
    for follow in [-1.0, f64::NAN, f64::INFINITY] {
        let found = FineTuningConfig { follow, ..FineTuningConfig::default() }.check();
        assert!(matches!(found, Err(Error::Range { what: "the weight of what follows the drift", .. })), "{found:?}");
    }
    let objective = FineTuning { strength: f64::NAN, ..FineTuning::default() };
    assert!(FineTuningConfig { objective, ..FineTuningConfig::default() }.check().is_err());
}

#[test]
fn samples_of_its_own_have_the_label_of_the_condition() {
    let device = CpuDevice::<f32>::new();
    let model = model(&device);
    for condition in [Condition::NONE, Condition::labels(&[2])] {
        let flow = Flow::new(&model, &Linear).with_condition(condition);
        let samples = own_samples(flow, &device).batch(1, 5, &Noise::new(2)).unwrap();
        assert_eq!(samples.x1.shape().axes(), [5, 2]);
        assert_eq!(samples.labels, condition.labels.map(|_| vec![2; 5]));
    }
}
