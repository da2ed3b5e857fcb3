//! Fine-tuning a model to a reward: the loss of a step, and what it keeps from one step to the next.

use super::{DataSource, LossInput, Samples, StepLoss};
use crate::model::Model;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use mfm_core::drift::AsDrift;
use mfm_core::sample::sample_by_steps;
use mfm_core::training::{FineTuning, FineTuningMaps, LogNormaliser, Objective, Velocities};
use mfm_core::{Device, Error, Flow, Noise, Operations, Result, Reward, Shape, Tensor, TimeGrid, memory};

/// What a model is fine-tuned by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FineTuningConfig {
    /// The loss of the drift b_t(x): the strength λ, the posterior draws, the earliest time, the adaptive weight.
    pub objective: FineTuning,
    /// Whether the weights exp(λ r) are divided by their running mean, so that a constant added to r changes nothing.
    pub normalised: bool,
    /// The weight, at least 0, of a loss that makes the rest of the map follow the drift: its diagonal to the posterior velocity of that drift, its jumps by
    /// the semigroup loss. 0 for none.
    pub follow: f64,
}

impl Default for FineTuningConfig {
    /// The drift alone, by normalised weights.
    fn default() -> Self {
        Self { objective: FineTuning::default(), normalised: true, follow: 0.0 }
    }
}

impl FineTuningConfig {
    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        if !(self.follow >= 0.0 && self.follow.is_finite()) {
            let what = "the weight of what follows the drift";
            return Err(Error::Range { what, value: self.follow, range: "at least 0 and finite" });
        }
        self.objective.check()
    }
}

/// What is known of the posterior draws of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FineTuningReport {
    /// The mean reward of those whose reward is not −∞; 0 if there are none.
    pub mean_reward: f64,
    /// The effective sample size of the weights, over all draws of the batch.
    pub effective_sample_size: f64,
}

/// The loss by which a [`Trainer`](super::Trainer) fine-tunes a model: afterwards its drift is that of the tilted law p1(x) exp(λ r(x)).
///
/// What is trained is the drift b_t(x), the diagonal of the map at t = 0: sample the outcome by its ODE. Jumps and posteriors are left as they fall, unless
/// [`follow`](FineTuningConfig::follow) trains them, too. Batches may be samples of any law, of the model itself ([`own_samples`]) or other data.
#[derive(Debug)]
pub struct FineTuner<'a, T, R> {
    config: FineTuningConfig,
    base: Flow<'a, Model<T>>,
    reward: &'a R,
    report: Cell<FineTuningReport>,
    normaliser: Cell<LogNormaliser>,
}

impl<'a, T: Tensor, R: Reward<T>> FineTuner<'a, T, R> {
    /// For a run that begins: `base` is the model before it, which draws the posteriors; its guidance is that of its drift and its draws, and the labels are the batch's.
    ///
    /// # Errors
    /// As [`FineTuningConfig::check`].
    pub fn new(config: FineTuningConfig, base: Flow<'a, Model<T>>, reward: &'a R) -> Result<Self> {
        config.check()?;
        Ok(Self { config, base, reward, report: Cell::default(), normaliser: Cell::default() })
    }

    /// For a run that goes on after a step whose [`memory`](Self::memory) was kept.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::Unsupported`] for a memory that is none.
    pub fn resume(config: FineTuningConfig, base: Flow<'a, Model<T>>, reward: &'a R, memory: &[f64]) -> Result<Self> {
        let tuner = Self::new(config, base, reward)?;
        if config.normalised {
            tuner.normaliser.set(remembered(memory)?);
        }
        Ok(tuner)
    }

    /// The loss of a step: the drift's, and [`follow`](FineTuningConfig::follow) times the rest's, which are its parts. The noise has fork 0 for the drift, fork 1 for
    /// the rest.
    ///
    /// # Errors
    /// As [`FineTuning::loss`] and [`Objective::loss`].
    pub fn loss(&self, input: LossInput<'_, T, Model<T>>) -> Result<StepLoss<T>> {
        let LossInput { frozen, student, samples, noise, .. } = input;
        let maps = FineTuningMaps { base: self.base, sampler: self.base, student };
        let mut normaliser = self.config.normalised.then(|| self.normaliser.get());
        let drift = self.config.objective.loss(&maps, self.reward, samples.batch(), normaliser.as_mut(), &noise.fork(0))?;
        self.normaliser.set(normaliser.unwrap_or_default());
        self.report.set(FineTuningReport { mean_reward: drift.mean_reward, effective_sample_size: drift.effective_sample_size });
        let mut loss = StepLoss { parts: vec![("drift's loss", drift.total.value().clone())], total: drift.total };
        if self.config.follow > 0.0 {
            let present = self.base.with_map(frozen);
            let teacher = AsDrift(frozen);
            let rest = Objective::default().loss(&present, student, Velocities::Teacher(&teacher), samples.batch(), &noise.fork(1))?;
            loss.parts.push(("rest's loss", rest.total.value().clone()));
            loss.total = loss.total.add(&rest.total.scale(self.config.follow)?)?;
        }
        Ok(loss)
    }

    /// What is known of the last step.
    pub fn report(&self) -> FineTuningReport {
        self.report.get()
    }

    /// The running log-mean of exp(λ r), ≈ log E exp(λ r) over the data; `None` for raw weights.
    pub fn log_mean(&self) -> Option<f64> {
        self.config.normalised.then(|| self.normaliser.get().log_mean)
    }

    /// What the loss keeps between steps, as a checkpoint holds it ([`TrainingRecord::memory`](crate::file::TrainingRecord::memory)): log-mean and number of
    /// batches; nothing for raw weights.
    pub fn memory(&self) -> Vec<f64> {
        let LogNormaliser { log_mean, count } = self.normaliser.get();
        if self.config.normalised { vec![log_mean, count as f64] } else { Vec::new() }
    }
}

/// The running mean of a checkpoint; a new one where it holds none.
fn remembered(memory: &[f64]) -> Result<LogNormaliser> {
    match *memory {
        [] => Ok(LogNormaliser::default()),
        [log_mean, count] => Ok(LogNormaliser { log_mean, count: count as u64 }),
        _ => Err(Error::Unsupported { op: "training state", what: "it does not hold the running mean of fine-tuning's weights" }),
    }
}

/// Samples of a model itself, in one step of its map and with the first label of its condition: what to fine-tune on where there are no data.
pub fn own_samples<'a, T: Tensor>(flow: Flow<'a, Model<T>>, device: &'a T::Device) -> impl DataSource<T> + 'a {
    let dimension = flow.map.config().network.data();
    move |_: u64, size: usize, noise: &Noise| {
        let x = device.normal(noise, Shape::new(&[size, dimension])?)?;
        let label = flow.condition.labels.and_then(<[usize]>::first);
        let labels = label.map(|label| memory::filled("a batch", *label, size)).transpose()?;
        Ok(Samples { x1: sample_by_steps(&flow, &TimeGrid::uniform(1), &x)?, labels })
    }
}
