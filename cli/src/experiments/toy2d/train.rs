//! Training a network on a mixture.

use super::problem::Problem;
use crate::{Context, Result, training};
use mfm_core::interpolant::Linear;
use mfm_core::training::{Objective, TimeLaw, Velocities};
use mfm_core::{Device, Flow, Noise, Shape, Tensor};
use mfm_nn::mlp::MlpConfig;
use mfm_nn::schedule::LearningRate;
use mfm_nn::train::{Samples, TrainingConfig};
use mfm_nn::{GaussianConfig, Model, ModelConfig};

/// The network's size, and how long it is trained.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub width: usize,
    pub depth: usize,
    pub steps: u64,
    pub batch: usize,
    pub rate: f64,
}

/// A preconditioned network, trained on the prior with the diagonal and the semigroup objective.
pub fn train<T: Tensor>(context: &Context<T>, problem: &Problem, recipe: &Recipe) -> Result<Model<T>> {
    let device = &context.device;
    let d = problem.dimension();
    let covariance = problem.prior.covariance();
    let variance = (0..d).map(|i| covariance[i * d + i]).sum::<f64>() / d as f64;
    let network = MlpConfig { width: recipe.width, depth: recipe.depth, ..MlpConfig::new(d) };
    let config = ModelConfig::mlp(network).preconditioned(GaussianConfig::new(variance.sqrt()));
    let model = Model::new(device, &config, &problem.prior.mean(), &context.noise.fork(10))?;
    let settings = TrainingConfig {
        steps: recipe.steps,
        batch: recipe.batch,
        rate: LearningRate::cosine(recipe.rate, 200.min(recipe.steps / 5)),
        seed: context.derived_seed(11),
        ..TrainingConfig::default()
    };
    let mut data = |_: u64, size: usize, noise: &Noise| {
        let rows = problem.prior.sample(size, noise)?;
        Ok(Samples { x1: device.from_slice(&rows, Shape::new(&[size, d])?)?, labels: None })
    };
    // The weight 1/c² leaves little effort for early times, whose errors are the largest in the samples: so these are drawn more often.
    let objective = Objective { times: TimeLaw { at_zero: 0.2, ..TimeLaw::default() }, ..Objective::default() };
    let trainer = training::train(context, "training", settings, &model, &mut data, |input| {
        let flow = Flow::new(input.frozen, &Linear);
        objective.loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
    })?;
    Ok(trainer.averaged()?)
}
