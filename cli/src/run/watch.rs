//! What happens beside the training steps: progress, lines of losses, the log, checkpoints.

use super::checkpoint::Checkpoint;
use super::log::{Line, Log};
use crate::context::{Context, Verbosity};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use mfm_core::Tensor;
use mfm_nn::train::Step;
use std::ops::ControlFlow;
use std::time::Instant;

/// Progress, log and checkpoints of a training run.
#[derive(Debug)]
pub struct Watch<'a, T: Tensor, L> {
    context: &'a Context<T>,
    /// How far the run is.
    pub progress: Progress,
    checkpoint: Option<&'a Checkpoint>,
    log: Option<Log>,
    every: u64,
    started: Instant,
    /// The lines of some two hundred steps.
    pub lines: Vec<L>,
    /// What ended the run, if anything did.
    pub broken: Option<Failure>,
}

impl<'a, T: Tensor, L: Line> Watch<'a, T, L> {
    /// `made` of `steps` steps are made already.
    pub fn new(context: &'a Context<T>, what: &str, checkpoint: Option<&'a Checkpoint>, log: Option<Log>, made: u64, steps: u64) -> Self {
        if made > 0 {
            context.say(format!("going on after step {}", crate::table::count(made as usize)));
        }
        let progress = context.progress(what, steps);
        progress.begin_at(made);
        let (every, started) = ((steps / 200).max(1), Instant::now());
        Self { context, progress, checkpoint, log, every, started, lines: Vec::new(), broken: None }
    }

    /// Looks at a step: `line` tells how it went, given the seconds until then, where that is logged or shown, as it always is of the last step and of one that `matters`;
    /// `save` writes a checkpoint where one is due.
    pub fn look(
        &mut self,
        step: &Step<T>,
        matters: bool,
        line: impl FnOnce(&Self, f64) -> Result<L>,
        save: impl FnOnce(&Checkpoint) -> Result<()>,
    ) -> ControlFlow<()> {
        match self.try_look(step, matters, line, save) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.broken = Some(failure);
                ControlFlow::Break(())
            }
        }
    }

    fn try_look(
        &mut self,
        step: &Step<T>,
        matters: bool,
        line: impl FnOnce(&Self, f64) -> Result<L>,
        save: impl FnOnce(&Checkpoint) -> Result<()>,
    ) -> Result<()> {
        self.progress.advance(1);
        let matters = matters || step.step == step.steps;
        let is_logged = matters || self.log.as_ref().is_some_and(|log| log.wants(step.step));
        let is_shown = matters || step.step.is_multiple_of(self.every);
        if is_logged || is_shown {
            let line = line(self, self.started.elapsed().as_secs_f64())?;
            if let Some(log) = self.log.as_mut().filter(|_| is_logged) {
                log.add(&line)?;
            }
            if is_shown {
                let (remark, more) = (line.remark(), line.detail());
                if self.context.verbosity == Verbosity::Verbose {
                    self.context.detail_above(&self.progress, format!("step {}: {remark}, {more}", step.step));
                }
                self.progress.remark(remark);
                self.lines.push(line);
            }
        }
        if let Some(checkpoint) = self.checkpoint.filter(|checkpoint| checkpoint.wants(step.step)) {
            // Only a log that is on the disk can be cut back to its checkpoint.
            self.log.as_ref().map_or(Ok(()), Log::sync)?;
            save(checkpoint)?;
        }
        Ok(())
    }
}
