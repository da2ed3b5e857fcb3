//! What happens beside the training steps: progress, losses, the log, checkpoints.

use super::Subject;
use super::checkpoint::Checkpoint;
use super::log::{Log, LogRow};
use crate::context::{Context, Verbosity};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::table::number;
use mfm_core::Tensor;
use mfm_nn::Trainer;
use mfm_nn::train::Step;
use std::ops::ControlFlow;
use std::time::Instant;

/// Who looks on.
pub(super) struct Watch<'a, T: Tensor> {
    context: &'a Context<T>,
    progress: Progress,
    checkpoint: Option<&'a Checkpoint>,
    log: Option<Log>,
    every: u64,
    started: Instant,
    /// The losses of some two hundred steps.
    pub losses: Vec<LogRow>,
    /// What ended the run, if anything did.
    pub broken: Option<Failure>,
}

impl<'a, T: Tensor> Watch<'a, T> {
    /// `made` of `steps` steps are made already.
    pub fn new(context: &'a Context<T>, checkpoint: Option<&'a Checkpoint>, log: Option<Log>, made: u64, steps: u64) -> Self {
        let progress = context.progress("training", steps);
        progress.advance(made);
        let (every, started) = ((steps / 200).max(1), Instant::now());
        Self { context, progress, checkpoint, log, every, started, losses: Vec::new(), broken: None }
    }

    /// Looks at a step.
    pub fn look(&mut self, trainer: &Trainer<T, Subject<T>>, step: &Step<T>) -> ControlFlow<()> {
        match self.try_look(trainer, step) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.broken = Some(failure);
                ControlFlow::Break(())
            }
        }
    }

    fn try_look(&mut self, trainer: &Trainer<T, Subject<T>>, step: &Step<T>) -> Result<()> {
        self.progress.advance(1);
        let is_logged = self.log.as_ref().is_some_and(|log| log.wants(step.step));
        let is_shown = step.step.is_multiple_of(self.every) || step.step == step.steps;
        if is_logged || is_shown {
            let row = self.row(step)?;
            if let Some(log) = self.log.as_mut().filter(|_| is_logged) {
                log.add(&row)?;
            }
            if is_shown {
                self.show(row);
            }
        }
        if let Some(checkpoint) = self.checkpoint.filter(|checkpoint| checkpoint.wants(step.step)) {
            // Only a log that is on the disk can be cut back to its checkpoint.
            self.log.as_ref().map_or(Ok(()), Log::sync)?;
            checkpoint.save(trainer)?;
        }
        Ok(())
    }

    fn row(&self, step: &Step<T>) -> Result<LogRow> {
        let parts = step.part_values()?;
        let part = |name: &str| parts.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, value)| *value);
        Ok(LogRow {
            step: step.step,
            diagonal: part("diagonal loss"),
            consistency: part("consistency loss"),
            gradient_norm: step.gradient_norm,
            learning_rate: step.rate,
            seconds: self.started.elapsed().as_secs_f64(),
        })
    }

    fn show(&mut self, row: LogRow) {
        let remark = format!("losses {} + {}", number(row.diagonal, 4), number(row.consistency, 4));
        if self.context.verbosity == Verbosity::Verbose {
            let more = format!("gradient {}, rate {}", number(row.gradient_norm, 3), number(row.learning_rate, 3));
            self.context.detail_above(&self.progress, format!("step {}: {remark}, {more}", row.step));
        }
        self.progress.remark(remark);
        self.losses.push(row);
    }
}
