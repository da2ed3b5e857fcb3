//! Fine-tuning a Meta Flow Map to a reward, with progress, log and checkpoints; what is trained by what is [`FineTuner`]'s.

use crate::context::Context;
use crate::failure::{Place, Result};
use crate::run::{Checkpoint, Line, Log, State, Watch};
use crate::table::number;
use mfm_core::sample::Sampler;
use mfm_core::{Device, Flow, Noise, Reward, Tensor};
use mfm_nn::train::{DataSource, FineTuner, FineTuningConfig, FineTuningReport, Step};
use mfm_nn::{LearningRate, Model, Trainer, TrainingConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Steps of Heun by which samples are drawn from a drift.
const ODE_STEPS: usize = 32;

/// How a model is fine-tuned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Steps, batch, learning rate, clip, average and seed.
    pub training: TrainingConfig,
    /// By what.
    pub tuning: FineTuningConfig,
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
            tuning: FineTuningConfig::default(),
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

impl Row {
    /// That of a step, in which `mean_reward` may have been estimated.
    fn of<T: Tensor>(step: &Step<T>, report: FineTuningReport, mean_reward: Option<f64>, seconds: f64) -> Result<Self> {
        let parts = step.part_values()?;
        let part = |k: usize| parts.get(k).map(|(_, value)| *value);
        Ok(Self {
            step: step.step,
            loss: part(0).unwrap_or_default(),
            follow: part(1),
            gradient_norm: step.gradient_norm,
            learning_rate: step.rate,
            effective_sample_size: report.effective_sample_size,
            base_reward: report.mean_reward,
            mean_reward,
            seconds,
        })
    }
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

/// Fine-tunes the map of `base` to `reward`, off policy: on batches of `data`, which may be samples of the model ([`own_samples`](mfm_nn::train::own_samples)) or anything
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
    let steps = settings.training.steps;
    let (mut trainer, tuner) = begin(context, base, reward, settings, kept)?;
    let log = match kept.and_then(|kept| kept.log.as_ref()) {
        Some((path, every)) => Some(Log::open::<Row>(path, trainer.steps_made(), *every)?),
        None => None,
    };
    let judged = match settings.samples {
        0 => None,
        n => {
            let dimension = base.map.config().network.data();
            Some(context.device.normal(&context.noise.fork(1), crate::model::shape(n, dimension)?)?)
        }
    };
    let mut watch = Watch::new(context, "fine-tuning", kept.map(|kept| &kept.checkpoint), log, trainer.steps_made(), steps);
    let often = (steps / 10).max(1);
    let outcome = trainer.run(
        data,
        |input| tuner.loss(input),
        |trainer, step| {
            let is_judged = step.step.is_multiple_of(often) || step.step == steps;
            let line = |watch: &Watch<'_, T, Row>, seconds: f64| {
                let mean_reward = match judged.as_ref().filter(|_| is_judged) {
                    Some(x) => Some(mean_reward(&Flow { map: &trainer.averaged()?, ..*base }, reward, x)?),
                    None => None,
                };
                if let Some(reward) = mean_reward {
                    context.say_above(&watch.progress, format!("step {}: mean reward {}", step.step, number(reward, 4)));
                }
                Row::of(step, tuner.report(), mean_reward, seconds)
            };
            let save = |checkpoint: &Checkpoint| {
                checkpoint.save(&trainer.averaged_precisely()?, &State { trainer: trainer.state(), memory: tuner.memory() })
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
    Ok(FineTuned { model, rows, log_mean: tuner.log_mean() })
}

/// A trainer, and its loss.
type Begun<'a, T, R> = (Trainer<T, Model<T>>, FineTuner<'a, T, R>);

/// Both at the start of a run, or where its last checkpoint left them.
fn begin<'a, T: Tensor, R: Reward<T>>(
    context: &Context<T>,
    base: &Flow<'a, Model<T>>,
    reward: &'a R,
    settings: &Settings,
    kept: Option<&Kept>,
) -> Result<Begun<'a, T, R>> {
    let state = match kept {
        Some(Kept { checkpoint, resume: true, .. }) => checkpoint.load(&context.device)?,
        _ => None,
    };
    Ok(match state {
        Some(State { trainer, memory }) => {
            (Trainer::resume(settings.training, base.map, trainer)?, FineTuner::resume(settings.tuning, *base, reward, &memory)?)
        }
        None => (Trainer::new(settings.training, base.map)?, FineTuner::new(settings.tuning, *base, reward)?),
    })
}
