//! What was run, as a table says it.

use super::Plan;
use crate::table::things;
use mfm_core::Interpolant;
use serde::Serialize;

/// What was run: the part of a line that every table of estimators has.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The estimator.
    pub estimator: &'static str,
    /// ODE, SDE, or bridge.
    pub sampler: &'static str,
    /// Posterior draws for each state.
    pub draws: usize,
    /// Time steps.
    pub steps: usize,
    /// MALA moves at each time.
    pub moves: usize,
    /// Network evaluations for each sample; a backward pass counts two.
    pub evaluations: usize,
    /// Seconds for all samples of one seed.
    pub seconds: f64,
}

impl Row {
    /// A plan under a name along a path, and how long it took.
    pub fn new(estimator: &'static str, plan: &Plan, path: &dyn Interpolant, seconds: f64) -> Self {
        let (sampler, evaluations) = (plan.sampler(), plan.evaluations(path));
        Self { estimator, sampler, draws: plan.draws, steps: plan.steps, moves: plan.moves, evaluations, seconds }
    }
}

impl Row {
    /// What it was made by: "mfm-gf, sde".
    pub fn way(&self) -> String {
        format!("{}, {}", self.estimator, self.sampler)
    }

    /// How much was done: "8 steps × 32 draws, 4 moves".
    pub fn effort(&self) -> String {
        let draws = if self.draws == 0 { String::new() } else { format!(" × {}", things(self.draws, "draw")) };
        let moves = if self.moves == 0 { String::new() } else { format!(", {}", things(self.moves, "move")) };
        format!("{}{draws}{moves}", things(self.steps, "step"))
    }
}

/// A count for people: a dash for none.
pub fn dash(n: usize) -> String {
    if n == 0 { "–".to_owned() } else { n.to_string() }
}
