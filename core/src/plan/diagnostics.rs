//! How a run goes, step by step.

use crate::categorical::Concentration;
use crate::population::Generation;
use core::fmt;

/// How one step went; what an estimator does not know is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Diagnostics {
    /// The number of the step, from 1; for best-of-n of the block of samples.
    pub step: usize,
    /// The effective sample size of the draws' weights (mean over the states, one without a possible draw counting 0), for MCMC of the fresh starts', or of
    /// the particles.
    pub effective_sample_size: Option<f64>,
    /// The largest of these weights, the mean over the states; or the largest share of a particle.
    pub largest_weight: Option<f64>,
    /// The mean norm of the correction (σ²/2)∇V.
    pub correction_norm: Option<f64>,
    /// The share of accepted moves.
    pub acceptance: Option<f64>,
    /// The best reward so far.
    pub best_reward: Option<f64>,
    /// Of a population the logarithm of what it estimates of Z = E[exp r(X1)]: at the last step of all of it, before of what the look-ahead makes of it.
    pub log_normaliser: Option<f64>,
}

impl Diagnostics {
    /// Of step `index`, counted from 0, nothing else being known.
    pub(super) fn of_step(index: usize) -> Self {
        Self { step: index + 1, ..Self::default() }
    }

    /// With the weights of the draws.
    pub(super) fn with_weights(self, weights: Option<Concentration>) -> Self {
        let (size, largest) = (weights.map(|w| w.effective_sample_size), weights.map(|w| w.largest_weight));
        Self { effective_sample_size: size, largest_weight: largest, ..self }
    }

    /// What is known beside the step, each with its name.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let entries = [
            ("effective sample size", self.effective_sample_size),
            ("largest weight", self.largest_weight),
            ("correction norm", self.correction_norm),
            ("acceptance", self.acceptance),
            ("best reward", self.best_reward),
            ("log normaliser", self.log_normaliser),
        ];
        entries.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

impl From<Generation> for Diagnostics {
    fn from(generation: Generation) -> Self {
        let log_normaliser = Some(generation.log_normaliser);
        Self { log_normaliser, ..Self::of_step(generation.index).with_weights(Some(generation.weights)) }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.step)?;
        self.entries().try_for_each(|(name, value)| write!(f, ", {name} {value:.4}"))
    }
}
