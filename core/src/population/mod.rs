//! Populations of particles: sequential Monte Carlo, weighed by a look-ahead at the reward (TDS; Wu et al., 2023, and with the value in its place).

mod proposal;

pub use proposal::{Bridged, GuidedSde, Proposal};

use crate::categorical::{Concentration, log_mean_exp, normalise, systematic};
use crate::draws::check_samples;
use crate::error::{Error, Result};
use crate::flow_map::{Flow, MetaFlowMap};
use crate::guidance::estimate_value;
use crate::memory;
use crate::noise::Noise;
use crate::reward::{Reward, rewards_of};
use crate::tensor::Tensor;
use crate::times::TimeGrid;
use alloc::vec::Vec;

/// The look-ahead log ψ_t(x) by which particles are weighed before the end, where it is the reward itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Potential {
    /// r(D_t(x)), the reward at the posterior mean, as in TDS. A reward that is sharp beside the posterior's width kills modes early.
    PosteriorMean,
    /// The estimate of V_t(x) by posterior draws.
    Value(crate::Draws),
}

/// One population of particles, moved by a [`Proposal`] and weighed against the model's own moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequentialMonteCarlo {
    /// The times.
    pub grid: TimeGrid,
    /// The look-ahead.
    pub potential: Potential,
    /// Resample when the effective sample size falls below this share of the particles.
    pub threshold: f64,
}

/// Checks that a threshold is a share of the particles.
///
/// # Errors
/// [`Error::Range`] if it is not.
pub(crate) fn check_threshold(value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(Error::Range { what: "the resampling threshold", value, range: "between 0 and 1" })
    }
}

/// How the population stood after a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Generation {
    /// The number of the step, from 0.
    pub index: usize,
    /// How concentrated the particles' weights were before any resampling.
    pub weights: Concentration,
    /// Whether the population was resampled.
    pub resampled: bool,
    /// The logarithm of the estimate of Z_t = E[ψ_t(x_t)] under the model, the means of the weights since the start; at the end of a grid up to 1 of
    /// Z = E[exp r(X1)], which the estimate (not its logarithm) has as its mean, for any number of particles.
    pub log_normaliser: f64,
}

impl SequentialMonteCarlo {
    /// Network evaluations for each particle, with moves that cost `of_move` each.
    pub fn evaluations(&self, of_move: usize) -> usize {
        let look = match self.potential {
            Potential::PosteriorMean => 1,
            Potential::Value(draws) => draws.count,
        };
        // One look after each step, the last of which is the reward itself if the grid ends at 1.
        let looks = self.grid.steps.saturating_sub(usize::from(self.grid.end >= 1.0));
        self.grid.steps.saturating_mul(of_move).saturating_add(looks.saturating_mul(look))
    }

    /// Moves the population `x` from the first time of the grid to the last; the result is resampled, so all weights are equal.
    /// Step k uses `noise.fork(k)`: streams 0 and 1 for the proposal, 2 to resample, 3 to look ahead.
    ///
    /// # Errors
    /// Those of the map, the reward, the proposal and `on_step`; [`Error::Range`] for a bad grid or threshold, no draws or no particles.
    pub fn run<T: Tensor, M: MetaFlowMap<T>>(
        &self,
        flow: &Flow<'_, M>,
        reward: &impl Reward<T>,
        proposal: &impl Proposal<T, M>,
        x: &T,
        noise: &Noise,
        on_step: &mut dyn FnMut(Generation) -> Result<()>,
    ) -> Result<T> {
        let times = self.grid.times(flow.path)?;
        check_samples(x.shape())?;
        if let Potential::Value(draws) = &self.potential {
            draws.check()?;
        }
        check_threshold(self.threshold)?;
        if !flow.condition.is_shared() {
            return Err(Error::Unsupported { op: "sequential Monte Carlo", what: "all particles of a population share one condition" });
        }
        let particles = x.shape().batch();
        let mut x = x.clone();
        // The weight of a particle without its present look-ahead, which is added anew each time: a look that says −∞ can be taken back.
        let mut carried = memory::filled("sequential Monte Carlo", 0.0, particles)?;
        let last = times.len() - 2;
        let mut log_normaliser = 0.0;
        for (index, pair) in times.windows(2).enumerate() {
            let noise = noise.fork(index as u64);
            let (next, change) = proposal.propose(flow, (pair[0], pair[1]), &x, &noise)?;
            let there = self.look_ahead(flow, reward, pair[1], &next, &noise.stream(3))?;
            carried.iter_mut().zip(change).for_each(|(carried, change)| *carried += change);
            let log_weights: Vec<f64> = carried.iter().zip(&there).map(|(carried, there)| carried + there).collect();
            x = next;
            let weights = Concentration::of_logarithms(&log_weights);
            let so_far = log_normaliser + log_mean_exp(&log_weights);
            let size = weights.effective_sample_size;
            // Where nothing is possible there is nothing to choose by, until the end.
            let resampled = index == last || (size > 0.0 && size < self.threshold * particles as f64);
            if resampled {
                let mut uniform = [0.0];
                noise.stream(2).fill_uniform(&mut uniform);
                let chosen = systematic(&normalise(&log_weights), particles, uniform[0]);
                x = x.gather(0, &chosen)?;
                log_normaliser = so_far;
                // If all particles are impossible, any may be chosen; its look-ahead of −∞ is not taken back.
                carried = chosen.iter().map(|&i| if there[i].is_finite() { -there[i] } else { 0.0 }).collect();
            }
            on_step(Generation { index, weights, resampled, log_normaliser: so_far })?;
        }
        Ok(x)
    }

    /// log ψ of each particle.
    fn look_ahead<T: Tensor, M: MetaFlowMap<T>>(
        &self,
        flow: &Flow<'_, M>,
        reward: &impl Reward<T>,
        t: f64,
        x: &T,
        noise: &Noise,
    ) -> Result<Vec<f64>> {
        if flow.path.coefficients(t).alpha == 0.0 {
            return rewards_of(reward, x)?.to_vec();
        }
        let mut looks: Vec<f64> = match self.potential {
            Potential::PosteriorMean => rewards_of(reward, &flow.posterior_mean(t, x)?)?.to_vec(),
            Potential::Value(draws) => estimate_value(flow, reward, t, x, draws, noise)?.value.to_vec(),
        }?;
        spare(&mut looks);
        Ok(looks)
    }
}

/// A look of −∞ before the end is an estimate: of a few draws none was allowed, or the mean is not, where the particle may still end well. To kill it would leave
/// the law of those paths whose looks are finite, with any number of particles; so it counts half of the least of the others.
fn spare(looks: &mut [f64]) {
    let least = looks.iter().copied().filter(|look| look.is_finite()).reduce(f64::min);
    if let Some(least) = least {
        looks.iter_mut().filter(|look| **look == f64::NEG_INFINITY).for_each(|look| *look = least - core::f64::consts::LN_2);
    }
}
