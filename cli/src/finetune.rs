//! Fine-tuning a Meta Flow Map to a reward: afterwards its drift is that of the tilted law p1(x) exp(λ r(x)), and no steering is needed.
//!
//! What is trained is the drift b_t(x), the diagonal of the map at t = 0: sample the outcome by its ODE. Jumps and posteriors are left as they fall, unless
//! [`Settings::follow`] trains them to follow.

use crate::classifier::failure;
use crate::context::{Context, Verbosity};
use crate::failure::{Failure, Place, Result};
use crate::table::number;
use mfm_core::posterior_velocity::AsDrift;
use mfm_core::sample::{sample_by_integration, sample_by_steps};
use mfm_core::steer::{Dynamics, Scheme, Steering};
use mfm_core::training::{FineTuning, FineTuningMaps, LogNormaliser, Objective};
use mfm_core::{Device, Flow, Noise, Operations, Reward, Tensor, TimeGrid};
use mfm_nn::train::{DataSource, LossInput, Samples, StepLoss};
use mfm_nn::{LearningRate, Model, Trainer, TrainingConfig};
use serde::Serialize;
use std::cell::Cell;
use std::ops::ControlFlow;

/// Steps of Heun by which samples are drawn from a drift.
const ODE_STEPS: usize = 32;

/// How a model is fine-tuned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Steps, batch, learning rate, clip, average and seed.
    pub training: TrainingConfig,
    /// The strength λ, the earliest time, the adaptive weight.
    pub objective: FineTuning,
    /// Whether the weights exp(λ r) are divided by their running mean, so that a constant added to r changes nothing.
    pub normalised: bool,
    /// The weight of a term that makes the rest of the map follow the drift in training: its diagonal to the posterior velocity of that drift, its jumps
    /// by the semigroup loss. 0 for none.
    pub follow: f64,
    /// Samples by which the mean reward is estimated, ten times on the way; 0 for never.
    pub samples: usize,
}

impl Default for Settings {
    /// 1,000 steps of 512 at 3·10⁻⁴, clipped to a norm of 1, with an average of 0.99.
    fn default() -> Self {
        Self {
            training: TrainingConfig {
                steps: 1000,
                batch: 512,
                rate: LearningRate::cosine(3e-4, 50),
                clip: Some(1.0),
                average: Some(0.99),
                ..TrainingConfig::default()
            },
            objective: FineTuning::default(),
            normalised: true,
            follow: 0.0,
            samples: 1024,
        }
    }
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The step, counted from 1.
    pub step: u64,
    /// The loss of the drift.
    pub loss: f64,
    /// The loss of the rest of the map, where that is trained too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow: Option<f64>,
    /// The gradient's norm, before it was clipped.
    pub gradient_norm: f64,
    /// The effective sample size of the batch's weights.
    pub effective_sample_size: f64,
    /// The mean reward of the batch's posterior draws, which are the base's.
    pub base_reward: f64,
    /// The mean reward of samples of the model as it is, where it was estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_reward: Option<f64>,
}

/// What fine-tuning gives.
#[derive(Clone, Debug)]
pub struct FineTuned<T> {
    /// The model.
    pub model: Model<T>,
    /// Some two hundred steps.
    pub rows: Vec<Row>,
    /// The running log-mean of exp(λ r) at the end, ≈ log E exp(λ r) over the data; `None` for raw weights.
    pub log_mean: Option<f64>,
}

/// Samples of the model itself, in one step of the map: what is trained on where there are no data.
pub fn samples_of<'a, T: Tensor>(flow: &'a Flow<'a, Model<T>>, device: &'a T::Device, dimension: usize) -> impl DataSource<T> + 'a {
    move |_: u64, size: usize, noise: &Noise| {
        let x = device.normal(noise, mfm_core::Shape::new(&[size, dimension])?)?;
        let labels = flow.condition.labels.and_then(<[_]>::first).map(|label| vec![*label; size]);
        Ok(Samples { x1: sample_by_steps(flow, &TimeGrid::uniform(1), &x)?, labels })
    }
}

/// Samples of a fine-tuned model from the standard normal `x`: by the ODE of its drift.
///
/// # Errors
/// Those of the model.
pub fn sample<T: Tensor>(flow: &Flow<'_, Model<T>>, x: &T) -> Result<T> {
    let steering = Steering { dynamics: Dynamics::Ode, scheme: Scheme::Heun, grid: TimeGrid::uniform(ODE_STEPS) };
    Ok(sample_by_integration(flow, &steering, x, &Noise::new(0))?)
}

/// The mean reward of such samples.
fn mean_reward<T: Tensor>(flow: &Flow<'_, Model<T>>, reward: &impl Reward<T>, x: &T) -> Result<f64> {
    let rewards = reward.value(&sample(flow, x)?)?.to_vec::<f64>()?;
    Ok(rewards.iter().sum::<f64>() / rewards.len().max(1) as f64)
}

/// Fine-tunes the map of `base` to `reward`, off policy: on batches of `data`, which may be samples of the model ([`samples_of`]) or anything
/// else. The labels of a batch condition all models; the condition of `base` those whose mean reward is estimated.
///
/// # Errors
/// One sentence: if the settings are out of range, the reward is NaN, or a loss or gradient is not finite.
pub fn fine_tune<T: Tensor, R: Reward<T>>(
    context: &Context<T>,
    base: &Flow<'_, Model<T>>,
    reward: &R,
    data: &mut impl DataSource<T>,
    settings: &Settings,
) -> Result<FineTuned<T>> {
    if !(settings.follow >= 0.0 && settings.follow.is_finite()) {
        return Err(Failure::input(format!("the weight of the rest of the map is {}, but must be at least 0", settings.follow)));
    }
    let steps = settings.training.steps;
    let mut trainer = Trainer::new(settings.training, base.map)?;
    let mut normaliser = settings.normalised.then(LogNormaliser::default);
    let rest = Objective::default();
    let judged = match settings.samples {
        0 => None,
        n => {
            let dimension = base.map.config().network.data();
            Some(context.device.normal(&context.noise.fork(1), crate::model::shape(n, dimension)?)?)
        }
    };
    // What the loss knows beside its value: the mean reward and the effective sample size.
    let seen = Cell::new((0.0, 0.0));
    let (every, often) = ((steps / 200).max(1), (steps / 10).max(1));
    let progress = context.progress("fine-tuning", steps);
    let (mut rows, mut broken) = (Vec::new(), None);
    let outcome = trainer.run(
        data,
        |input: LossInput<'_, T, Model<T>>| {
            let maps = FineTuningMaps { base: *base, sampler: *base, trained: input.frozen, student: input.student };
            let found = settings.objective.loss(&maps, reward, input.samples.batch(), normaliser.as_mut(), &input.noise.fork(0))?;
            seen.set((found.mean_reward, found.effective_sample_size));
            let mut loss = StepLoss { parts: vec![("drift's loss", found.total.value().clone())], total: found.total };
            if settings.follow > 0.0 {
                let flow = Flow { map: input.frozen, ..*base };
                let drift = AsDrift(input.frozen);
                let losses = rest.loss(&flow, input.student, Some(&drift), input.samples.batch(), &input.noise.fork(1))?;
                loss.parts.push(("rest's loss", losses.total.value().clone()));
                loss.total = loss.total.add(&losses.total.scale(settings.follow)?)?;
            }
            Ok(loss)
        },
        |trainer, step| {
            let mut look = || -> Result<()> {
                progress.advance(1);
                let (is_shown, is_judged) = (step.step.is_multiple_of(every), step.step.is_multiple_of(often) || step.step == steps);
                if !is_shown && !is_judged {
                    return Ok(());
                }
                let parts = step.part_values()?;
                let part = |k: usize| parts.get(k).map(|(_, value)| *value);
                let mean_reward = match judged.as_ref().filter(|_| is_judged) {
                    Some(x) => Some(mean_reward(&Flow { map: &trainer.averaged()?, ..*base }, reward, x)?),
                    None => None,
                };
                let (base_reward, effective_sample_size) = seen.get();
                let (gradient_norm, follow) = (step.gradient_norm, part(1));
                let loss = part(0).unwrap_or_default();
                let row = Row { step: step.step, loss, follow, gradient_norm, effective_sample_size, base_reward, mean_reward };
                if let Some(reward) = mean_reward {
                    context.say_above(&progress, format!("step {}: mean reward {}", row.step, number(reward, 4)));
                }
                if context.verbosity == Verbosity::Verbose {
                    let more = format!("loss {}, gradient {}", number(row.loss, 4), number(row.gradient_norm, 3));
                    context.detail_above(&progress, format!("step {}: {more}, effective sample size {effective_sample_size:.0}", row.step));
                }
                progress.remark(format!("loss {}, effective sample size {effective_sample_size:.0}", number(row.loss, 4)));
                rows.push(row);
                Ok(())
            };
            match look() {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    broken = Some(failure);
                    ControlFlow::Break(())
                }
            }
        },
    );
    if let Some(failure) = broken {
        return Err(failure);
    }
    outcome.map_err(failure).at("fine-tuning")?;
    drop(progress);
    let model = trainer.averaged()?;
    Ok(FineTuned { model, rows, log_mean: normaliser.map(|normaliser| normaliser.log_mean) })
}
