//! The networks of the demo, and their training.

use super::Size;
use super::digits::{Digits, batch};
use crate::data::Dataset;
use crate::{Context, Failure, Result};
use mfm_core::interpolant::Linear;
use mfm_core::training::{NoTeacher, Objective};
use mfm_core::{Flow, Noise, Tensor};
use mfm_nn::mlp::MlpConfig;
use mfm_nn::schedule::LearningRate;
use mfm_nn::train::{DataSource, LossInput, StepLoss, Trainer, TrainingConfig};
use mfm_nn::{Classifier, ClassifierConfig, GaussianConfig, Model, ModelConfig, Module};
use std::ops::ControlFlow;

/// Noise on the digits that a classifier is trained on: it must also judge digits that are not quite real.
const CLASSIFIER_NOISE: f64 = 0.25;

/// A classifier of clean digits. Those of different `index` share no noise, nor any with the Meta Flow Map, whose index is 0.
pub fn classifier<T: Tensor>(
    context: &Context<T>,
    what: &str,
    data: &Dataset,
    width: usize,
    index: u64,
    size: &Size,
) -> Result<Classifier<T>> {
    let config = ClassifierConfig { data: data.dimension, width, depth: 2, classes: 10 };
    let fresh = Classifier::new(&context.device, &config, &context.noise.fork(index))?;
    let settings = TrainingConfig {
        steps: size.classifier_steps,
        batch: 128,
        rate: LearningRate::cosine(2e-3, 100.min(size.classifier_steps / 5)),
        average: None,
        seed: context.derived_seed(index),
        ..TrainingConfig::default()
    };
    train(
        context,
        what,
        settings,
        &fresh,
        &mut |_: u64, size: usize, noise: &Noise| batch(data, &context.device, size, CLASSIFIER_NOISE, noise),
        |input| {
            input
                .student
                .cross_entropy(&mfm_core::autodiff::Var::constant(input.samples.x1.clone()), input.samples.labels.as_deref().unwrap_or(&[]))
        },
    )
}

/// A class-agnostic Meta Flow Map of the digits: a preconditioned MLP.
pub fn meta_flow_map<T: Tensor>(context: &Context<T>, digits: &Digits, size: &Size) -> Result<Model<T>> {
    let data = &digits.train;
    let d = data.dimension;
    let n = data.len() as f64;
    let mean: Vec<f64> = (0..d).map(|j| (0..data.len()).map(|i| f64::from(data.row(i)[j])).sum::<f64>() / n).collect();
    let squares = (0..data.len()).flat_map(|i| data.row(i).iter().zip(&mean)).map(|(x, m)| (f64::from(*x) - m).powi(2)).sum::<f64>();
    let deviation = (squares / (n * d as f64)).sqrt();
    let network = MlpConfig { width: 512, depth: 4, ..MlpConfig::new(d) };
    let config = ModelConfig::mlp(network).preconditioned(GaussianConfig::new(deviation));
    let fresh = Model::new(&context.device, &config, &mean, &context.noise.fork(3))?;
    let settings = TrainingConfig {
        steps: size.map_steps,
        batch: size.batch,
        rate: LearningRate::cosine(1e-3, 100.min(size.map_steps / 5)),
        seed: context.seed,
        average: Some(0.995),
        ..TrainingConfig::default()
    };
    let objective = Objective::default();
    train(
        context,
        "training the Meta Flow Map",
        settings,
        &fresh,
        // The map is class-agnostic: it never sees a label.
        &mut |_: u64, size: usize, noise: &Noise| {
            Ok(mfm_nn::train::Samples { labels: None, ..batch(data, &context.device, size, 0.0, noise)? })
        },
        |input| {
            let flow = Flow::new(input.frozen, &Linear);
            objective.loss(&flow, input.student, None::<&NoTeacher>, input.samples.batch(), input.noise)
        },
    )
}

/// Trains with progress, and gives the averaged module.
fn train<T: Tensor, M: Module<T, Over<T> = M>, L: Into<StepLoss<T>>>(
    context: &Context<T>,
    what: &str,
    settings: TrainingConfig,
    fresh: &M,
    data: &mut impl DataSource<T>,
    loss: impl FnMut(LossInput<'_, T, M>) -> mfm_core::Result<L>,
) -> Result<M> {
    let mut trainer = Trainer::new(settings, fresh)?;
    let progress = context.progress(what, settings.steps);
    let outcome = trainer.run(data, loss, |_, step| {
        if step.step % 50 == 0
            && let Ok(loss) = step.loss_value()
        {
            progress.remark(format!("loss {loss:.3}"));
        }
        progress.advance(1);
        ControlFlow::Continue(())
    });
    outcome.map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(trainer.averaged()?)
}
