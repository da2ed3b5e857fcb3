//! How a step of training went.

use crate::failure::Result;
use crate::run::Line;
use crate::table::number;
use mfm_core::Tensor;
use mfm_nn::train::{CONSISTENCY_LOSS, DIAGONAL_LOSS, Step};
use serde::{Deserialize, Serialize};

/// A line of the log of `mfm train`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRow {
    /// The step, counted from 1.
    pub step: u64,
    /// The diagonal loss.
    pub diagonal: f64,
    /// The consistency loss; 0 without one.
    pub consistency: f64,
    /// The gradient's norm, before it was clipped.
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Seconds of training until then, over all parts of a run that was interrupted.
    pub seconds: f64,
}

impl LogRow {
    /// That of a step.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn of<T: Tensor>(step: &Step<T>, seconds: f64) -> Result<Self> {
        let parts = step.part_values()?;
        let part = |name: &str| parts.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, value)| *value);
        Ok(Self {
            step: step.step,
            diagonal: part(DIAGONAL_LOSS),
            consistency: part(CONSISTENCY_LOSS),
            gradient_norm: step.gradient_norm,
            learning_rate: step.rate,
            seconds,
        })
    }
}

impl Line for LogRow {
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
        format!("losses {} + {}", number(self.diagonal, 4), number(self.consistency, 4))
    }

    fn detail(&self) -> String {
        format!("gradient {}, rate {}", number(self.gradient_norm, 3), number(self.learning_rate, 3))
    }
}
