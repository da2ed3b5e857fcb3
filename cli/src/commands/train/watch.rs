//! What happens beside the training steps: progress, losses, checkpoints.

use super::checkpoint::Checkpoint;
use crate::context::{Context, Verbosity};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::table::number;
use mfm_core::Tensor;
use mfm_nn::train::Step;
use mfm_nn::{Model, Trainer};
use serde::Serialize;
use std::ops::ControlFlow;

/// The losses after a step.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct LossRow {
    pub step: u64,
    pub diagonal: f64,
    pub consistency: f64,
    pub gradient_norm: f64,
    pub learning_rate: f64,
}

/// Who looks on.
pub(super) struct Watch<'a, T: Tensor> {
    context: &'a Context<T>,
    progress: Progress,
    checkpoint: Option<&'a Checkpoint>,
    every: u64,
    /// The losses of some two hundred steps.
    pub losses: Vec<LossRow>,
    /// What ended the run, if anything did.
    pub broken: Option<Failure>,
}

impl<'a, T: Tensor> Watch<'a, T> {
    /// `made` of `steps` steps are made already.
    pub fn new(context: &'a Context<T>, checkpoint: Option<&'a Checkpoint>, made: u64, steps: u64) -> Self {
        let progress = context.progress("training", steps);
        progress.advance(made);
        Self { context, progress, checkpoint, every: (steps / 200).max(1), losses: Vec::new(), broken: None }
    }

    /// Looks at a step.
    pub fn look(&mut self, trainer: &Trainer<T, Model<T>>, step: &Step<T>) -> ControlFlow<()> {
        match self.try_look(trainer, step) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.broken = Some(failure);
                ControlFlow::Break(())
            }
        }
    }

    fn try_look(&mut self, trainer: &Trainer<T, Model<T>>, step: &Step<T>) -> Result<()> {
        self.progress.advance(1);
        if let Some(checkpoint) = self.checkpoint {
            checkpoint.save(trainer)?;
        }
        if !step.step.is_multiple_of(self.every) && step.step != step.steps {
            return Ok(());
        }
        let parts = step.part_values()?;
        let part = |name: &str| parts.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, value)| *value);
        let row = LossRow {
            step: step.step,
            diagonal: part("diagonal loss"),
            consistency: part("consistency loss"),
            gradient_norm: step.gradient_norm,
            learning_rate: step.rate,
        };
        self.losses.push(row);
        let remark = format!("losses {} + {}", number(row.diagonal, 4), number(row.consistency, 4));
        if self.context.verbosity == Verbosity::Verbose {
            let more = format!("gradient {}, rate {}", number(row.gradient_norm, 3), number(row.learning_rate, 3));
            self.context.detail_above(&self.progress, format!("step {}: {remark}, {more}", row.step));
        }
        self.progress.remark(remark);
        Ok(())
    }
}
