//! Fine-tuning a Meta Flow Map to a reward: afterwards its drift is that of the tilted law p1(x) exp(λ r(x)), and no steering is needed.
//!
//! What is trained is the drift b_t(x), the diagonal of the map at t = 0: sample the outcome by its ODE. Jumps and posteriors are left as they fall, unless
//! [`Settings::follow`] trains them to follow.

use crate::context::Context;
use crate::failure::{Failure, Place, Result};
use crate::run::{Checkpoint, Line, Log, State, Watch};
use crate::table::number;
use mfm_core::drift::AsDrift;
use mfm_core::error::Number;
use mfm_core::sample::{Sampler, sample_by_steps};
use mfm_core::training::{FineTuning, FineTuningMaps, LogNormaliser, Objective, Velocities};
use mfm_core::{Device, Flow, Noise, Operations, Reward, Tensor, TimeGrid};
use mfm_nn::train::{DataSource, LossInput, Samples, StepLoss};
use mfm_nn::{LearningRate, Model, Trainer, TrainingConfig};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::path::PathBuf;

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

/// How a step went: a line of the log of `mfm finetune`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The step, counted from 1.
    pub step: u64,
    /// The loss of the drift.
    pub loss: f64,
    /// The loss of the rest of the map, where that is trained too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<f64>,
    /// The gradient's norm, before it was clipped.
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// The effective sample size of the weights, over all draws of the batch.
    pub effective_sample_size: f64,
    /// The mean reward of the batch's posterior draws, which are the base's, −∞ aside.
    pub base_reward: f64,
    /// The mean reward of samples of the model as it is, where it was estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_reward: Option<f64>,
    /// Seconds of training until then, over all parts of a run that was interrupted.
    pub seconds: f64,
}

impl Line for Row {
    fn step(&self) -> u64 {
        self.step
    }

    fn seconds(&self) -> f64 {
        self.seconds
    }

    fn at(self, seconds: f64) -> Self {
        Self { seconds, ..self }
    }

    fn remark(&self) -> String {
        format!("loss {}, effective sample size {:.1}", number(self.loss, 4), self.effective_sample_size)
    }

    fn detail(&self) -> String {
        format!("gradient {}, rate {}", number(self.gradient_norm, 3), number(self.learning_rate, 3))
    }
}

/// Where a run is kept.
#[derive(Debug)]
pub struct Kept {
    /// Its checkpoints.
    pub checkpoint: Checkpoint,
    /// Whether to go on from the last of them, if there is one.
    pub resume: bool,
    /// The file of its log, and the steps between two of its lines.
    pub log: Option<(PathBuf, u64)>,
}

/// What fine-tuning gives.
#[derive(Clone, Debug)]
pub struct FineTuned<T> {
    /// The model, as exact as the device has it: what runs on it is [`mfm_nn::Module::to_working`] of that.
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
    Ok(Sampler::ode(ODE_STEPS).sample(flow, x, &Noise::new(0))?)
}

/// The mean reward of such samples.
fn mean_reward<T: Tensor>(flow: &Flow<'_, Model<T>>, reward: &impl Reward<T>, x: &T) -> Result<f64> {
    let rewards = reward.value(&sample(flow, x)?)?.to_vec::<f64>()?;
    Ok(rewards.iter().sum::<f64>() / rewards.len().max(1) as f64)
}

/// Fine-tunes the map of `base` to `reward`, off policy: on batches of `data`, which may be samples of the model ([`samples_of`]) or anything
/// else. The labels of a batch condition all models; the condition of `base` those whose mean reward is estimated. A run that is kept can go on after it was
/// killed, to the same weights.
///
/// # Errors
/// One sentence: if the settings are out of range, the reward is NaN, a loss or gradient is not finite, or the run cannot be kept.
pub fn fine_tune<T: Tensor, R: Reward<T>>(
    context: &Context<T>,
    base: &Flow<'_, Model<T>>,
    reward: &R,
    data: &mut impl DataSource<T>,
    settings: &Settings,
    kept: Option<&Kept>,
) -> Result<FineTuned<T>> {
    if !(settings.follow >= 0.0 && settings.follow.is_finite()) {
        return Err(Failure::input(format!("the weight of the rest of the map is {}, but must be at least 0", Number(settings.follow))));
    }
    let steps = settings.training.steps;
    let state = match kept {
        Some(Kept { checkpoint, resume: true, .. }) => checkpoint.load(&context.device)?,
        _ => None,
    };
    let (mut trainer, memory) = match state {
        Some(State { trainer, memory }) => (Trainer::resume(settings.training, base.map, trainer)?, memory),
        None => (Trainer::new(settings.training, base.map)?, Vec::new()),
    };
    let mut normaliser = if settings.normalised { Some(remembered(&memory)?) } else { None };
    let log = match kept.and_then(|kept| kept.log.as_ref()) {
        Some((path, every)) => Some(Log::open::<Row>(path, trainer.steps_made(), *every)?),
        None => None,
    };
    let rest = Objective::default();
    let judged = match settings.samples {
        0 => None,
        n => {
            let dimension = base.map.config().network.data();
            Some(context.device.normal(&context.noise.fork(1), crate::model::shape(n, dimension)?)?)
        }
    };
    // What the loss knows beside its value, of the last step.
    let seen = Cell::new(Seen::default());
    let mut watch = Watch::new(context, "fine-tuning", kept.map(|kept| &kept.checkpoint), log, trainer.steps_made(), steps);
    let often = (steps / 10).max(1);
    let outcome = trainer.run(
        data,
        |input: LossInput<'_, T, Model<T>>| {
            let maps = FineTuningMaps { base: *base, sampler: *base, student: input.student };
            let found = settings.objective.loss(&maps, reward, input.samples.batch(), normaliser.as_mut(), &input.noise.fork(0))?;
            seen.set(Seen { reward: found.mean_reward, effective_sample_size: found.effective_sample_size, normaliser });
            let mut loss = StepLoss { parts: vec![("drift's loss", found.total.value().clone())], total: found.total };
            if settings.follow > 0.0 {
                let flow = Flow { map: input.frozen, ..*base };
                let drift = AsDrift(input.frozen);
                let losses = rest.loss(&flow, input.student, Velocities::Teacher(&drift), input.samples.batch(), &input.noise.fork(1))?;
                loss.parts.push(("rest's loss", losses.total.value().clone()));
                loss.total = loss.total.add(&losses.total.scale(settings.follow)?)?;
            }
            Ok(loss)
        },
        |trainer, step| {
            let seen = seen.get();
            let is_judged = step.step.is_multiple_of(often) || step.step == steps;
            let line = |watch: &Watch<'_, T, Row>, seconds: f64| {
                let mean_reward = match judged.as_ref().filter(|_| is_judged) {
                    Some(x) => Some(mean_reward(&Flow { map: &trainer.averaged()?, ..*base }, reward, x)?),
                    None => None,
                };
                if let Some(reward) = mean_reward {
                    context.say_above(&watch.progress, format!("step {}: mean reward {}", step.step, number(reward, 4)));
                }
                let parts = step.part_values()?;
                let part = |k: usize| parts.get(k).map(|(_, value)| *value);
                Ok(Row {
                    step: step.step,
                    loss: part(0).unwrap_or_default(),
                    follow: part(1),
                    gradient_norm: step.gradient_norm,
                    learning_rate: step.rate,
                    effective_sample_size: seen.effective_sample_size,
                    base_reward: seen.reward,
                    mean_reward,
                    seconds,
                })
            };
            let save = |checkpoint: &Checkpoint| {
                checkpoint.save(&trainer.averaged_precisely()?, &State { trainer: trainer.state(), memory: memory_of(seen.normaliser) })
            };
            watch.look(step, is_judged, line, save)
        },
    );
    if let Some(failure) = watch.broken {
        return Err(failure);
    }
    outcome.at("fine-tuning")?;
    let rows = watch.lines;
    drop(watch.progress);
    let model = trainer.averaged_precisely()?;
    Ok(FineTuned { model, rows, log_mean: normaliser.map(|normaliser| normaliser.log_mean) })
}

/// What the loss of a step knows beside its value.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// The mean reward of the posterior draws that are possible.
    reward: f64,
    effective_sample_size: f64,
    /// The running mean after it.
    normaliser: Option<LogNormaliser>,
}

/// The running mean, as a checkpoint holds it.
fn memory_of(normaliser: Option<LogNormaliser>) -> Vec<f64> {
    normaliser.map(|LogNormaliser { log_mean, count }| vec![log_mean, count as f64]).unwrap_or_default()
}

/// The running mean of a checkpoint, or a new one for a new run.
fn remembered(memory: &[f64]) -> Result<LogNormaliser> {
    match *memory {
        [] => Ok(LogNormaliser::default()),
        [log_mean, count] => Ok(LogNormaliser { log_mean, count: count as u64 }),
        _ => Err(Failure::input("cannot resume: the checkpoint does not hold the running mean of the weights")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_mean_comes_back_as_it_was() {
        let normaliser = LogNormaliser { log_mean: -0.1, count: 7 };
        assert_eq!(remembered(&memory_of(Some(normaliser))).unwrap(), normaliser);
        assert_eq!(remembered(&memory_of(None)).unwrap(), LogNormaliser::default());
        assert!(remembered(&[1.0]).unwrap_err().to_string().contains("running mean"));
    }
}
