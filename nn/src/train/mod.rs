//! The training loop. All randomness of step k comes from `Noise::new(seed).fork(k)`, so a run that is resumed goes on bit by bit as if
//! it had never stopped.

mod error;
mod fine_tuning;
mod flat;
mod trainer;

pub use error::TrainError;
pub use fine_tuning::{FineTuner, FineTuningConfig, FineTuningReport, own_samples};
pub use flat::Flat;
pub use trainer::{Outcome, Step, Trainer, TrainingState};

use crate::module::Module;
use crate::optimiser::OptimiserConfig;
use crate::schedule::LearningRate;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use mfm_core::autodiff::Var;
use mfm_core::training::{Consistency, Losses};
use mfm_core::{Error, Noise, Result, Tensor, memory};
use serde::{Deserialize, Serialize};

/// The settings of a training run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingConfig {
    /// The number of steps of the whole run, at least 1.
    pub steps: u64,
    /// The batch size that the data source is asked for, at least 1.
    pub batch: usize,
    /// The learning rate.
    pub rate: LearningRate,
    /// The optimiser.
    pub optimiser: OptimiserConfig,
    /// The largest norm of the whole gradient; a longer one is shortened to it. `None` for no limit.
    pub clip: Option<f64>,
    /// The decay of the moving average of the parameters, in [0, 1); `None` for no average.
    pub average: Option<f64>,
    /// The seed of the run.
    pub seed: u64,
}

impl Default for TrainingConfig {
    /// The reference's 2D experiment: 20,000 steps of 4,096, Adam at 10⁻³ with a warm-up of 200 and a cosine, average 0.999.
    fn default() -> Self {
        Self {
            steps: 20_000,
            batch: 4096,
            rate: LearningRate::cosine(1e-3, 200),
            optimiser: OptimiserConfig::default(),
            clip: None,
            average: Some(0.999),
            seed: 0,
        }
    }
}

impl TrainingConfig {
    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        for (what, zero) in [("the number of steps", self.steps == 0), ("the batch size", self.batch == 0)] {
            if zero {
                return Err(Error::Range { what, value: 0.0, range: "at least 1" });
            }
        }
        self.rate.check()?;
        self.optimiser.check()?;
        match (self.clip, self.average) {
            (Some(clip), _) if clip.is_nan() || clip <= 0.0 => {
                Err(Error::Range { what: "the largest gradient norm", value: clip, range: "positive" })
            }
            (_, Some(decay)) if !(0.0..1.0).contains(&decay) => {
                Err(Error::Range { what: "the decay of the moving average", value: decay, range: "at least 0 and below 1" })
            }
            _ => Ok(()),
        }
    }
}

/// The losses of an objective in words, with which [`Provenance::objective`](crate::file::Provenance::objective) begins.
pub fn losses_in_words(consistency: Consistency) -> String {
    match consistency {
        Consistency::None => DIAGONAL_LOSS.into(),
        _ => format!("diagonal and {} losses", consistency.name()),
    }
}

/// A batch of clean samples.
#[derive(Clone, Debug)]
pub struct Samples<T> {
    /// The samples, [n, ...].
    pub x1: T,
    /// Their labels, if any.
    pub labels: Option<Vec<usize>>,
}

impl<T> Samples<T> {
    /// The samples as an objective takes them.
    pub fn batch(&self) -> mfm_core::training::Batch<'_, T> {
        mfm_core::training::Batch { x1: &self.x1, labels: self.labels.as_deref() }
    }
}

/// `size` random rows of [n, ...], with their labels: a batch for training.
///
/// # Errors
/// [`Error::Length`] unless there is one label for each row, [`Error::Range`] if rows are asked for and there is none, [`Error::OutOfMemory`] for more rows than there is memory for, and whatever the device reports.
pub fn random_rows<T: Tensor>(rows: &T, labels: Option<&[usize]>, size: usize, noise: &Noise) -> Result<Samples<T>> {
    let count = rows.shape().batch();
    if let Some(found) = labels.map(<[usize]>::len).filter(|found| *found != count) {
        return Err(Error::Length { op: "the labels", expected: count, found });
    }
    if count == 0 && size > 0 {
        return Err(Error::Range { what: "the number of rows", value: 0.0, range: "at least 1" });
    }
    let mut chosen = memory::filled("a batch", 0, size)?;
    noise.fill_below(count, &mut chosen);
    // There is a label for each row.
    let of_chosen = |labels: &[usize]| memory::list("a batch", chosen.iter().map(|&i| labels.get(i).copied().unwrap_or_default()));
    let labels = labels.map(of_chosen).transpose()?;
    Ok(Samples { x1: rows.gather(0, &chosen)?, labels })
}

/// Where training data comes from.
pub trait DataSource<T: Tensor> {
    /// The batch of step `step`, of about `size` samples; where a batch is evaluated in parts, each part counts by the samples it returned. All randomness must
    /// come from `noise`, so that a resumed run sees the same data.
    ///
    /// # Errors
    /// The source's own.
    fn batch(&mut self, step: u64, size: usize, noise: &Noise) -> Result<Samples<T>>;
}

impl<T: Tensor, F: FnMut(u64, usize, &Noise) -> Result<Samples<T>>> DataSource<T> for F {
    fn batch(&mut self, step: u64, size: usize, noise: &Noise) -> Result<Samples<T>> {
        self(step, size, noise)
    }
}

/// What a loss is computed from.
pub struct LossInput<'a, T: Tensor, M: Module<T>> {
    /// The module with its present parameters as constants: the source of targets that carry no gradient.
    pub frozen: &'a M,
    /// The module with its parameters as variables.
    pub student: &'a M::Over<Var<T>>,
    /// The batch.
    pub samples: &'a Samples<T>,
    /// The noise of this step.
    pub noise: &'a Noise,
    /// The step, counted from 1.
    pub step: u64,
}

/// What a loss gives.
#[derive(Clone, Debug)]
pub struct StepLoss<T> {
    /// The scalar to be minimised.
    pub total: Var<T>,
    /// Scalars to be reported, with their names.
    pub parts: Vec<(&'static str, T)>,
}

impl<T: Tensor> From<Var<T>> for StepLoss<T> {
    fn from(total: Var<T>) -> Self {
        Self { total, parts: Vec::new() }
    }
}

/// The name of the diagonal loss among the parts of a step.
pub const DIAGONAL_LOSS: &str = "diagonal loss";
/// The name of the consistency loss among the parts of a step.
pub const CONSISTENCY_LOSS: &str = "consistency loss";

impl<T: Tensor> From<Losses<T>> for StepLoss<T> {
    fn from(losses: Losses<T>) -> Self {
        Self { total: losses.total, parts: vec![(DIAGONAL_LOSS, losses.diagonal), (CONSISTENCY_LOSS, losses.consistency)] }
    }
}
