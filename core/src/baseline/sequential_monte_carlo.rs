//! Sequential Monte Carlo with twisted proposals (TDS; Wu et al., 2023).

use crate::categorical::{effective_sample_size, normalise, systematic};
use crate::error::{Error, Result};
use crate::flow_map::{Flow, MetaFlowMap};
use crate::guidance::{Guidance, Guide, estimate_value};
use crate::noise::Noise;
use crate::reward::Reward;
use crate::steer::{Dynamics, slope};
use crate::tensor::{Device, Operations, Tensor};
use crate::times::TimeGrid;
use alloc::vec;
use alloc::vec::Vec;

/// The look-ahead log ψ_t(x) by which particles are weighed before the end, where it is the reward itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Potential {
    /// r(D_t(x)), the reward at the posterior mean, as in TDS. A reward that is sharp beside the posterior's width kills modes early.
    PosteriorMean,
    /// The estimate of V_t(x) by posterior draws.
    Value(crate::Draws),
}

/// One population of particles that follow a guided SDE and are weighed against the unguided one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequentialMonteCarlo {
    /// The times; must start after 0.
    pub grid: TimeGrid,
    /// The look-ahead.
    pub potential: Potential,
    /// Resample when the effective sample size falls below this share of the particles.
    pub threshold: f64,
}

/// How the population stood after a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Generation {
    /// The number of the step, from 0.
    pub index: usize,
    /// The effective sample size before any resampling.
    pub effective_sample_size: f64,
    /// Whether the population was resampled.
    pub resampled: bool,
}

impl SequentialMonteCarlo {
    /// Network evaluations for each particle, with a guide that costs `of_guide` each.
    pub fn evaluations(&self, of_guide: usize) -> usize {
        let look = match self.potential {
            Potential::PosteriorMean => 1,
            Potential::Value(draws) => draws.count,
        };
        // One look at the start and one after each step, the last of which is the reward itself if the grid ends at 1.
        let looks = self.grid.steps + usize::from(self.grid.end < 1.0);
        self.grid.steps * of_guide + looks * look
    }

    /// Moves the population `x` from the first time of the grid to the last; the result is resampled, so all weights are equal.
    /// `guide` proposes (`Unsteered` for a plain particle filter). Step k uses `noise.fork(k)`.
    ///
    /// # Errors
    /// Those of the map, the reward and `on_step`; [`Error::Range`] for a bad grid or threshold, or a grid that starts at 0.
    pub fn run<T: Tensor, M: MetaFlowMap<T>>(
        &self,
        flow: &Flow<'_, M>,
        reward: &impl Reward<T>,
        guide: &impl Guide<T, M>,
        x: &T,
        noise: &Noise,
        on_step: &mut dyn FnMut(Generation) -> Result<()>,
    ) -> Result<T> {
        let times = self.grid.times()?;
        if times[0] == 0.0 {
            return Err(Error::Range { what: "the first time of an SDE", value: 0.0, range: "above 0" });
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(Error::Range { what: "the resampling threshold", value: self.threshold, range: "between 0 and 1" });
        }
        if !flow.condition.is_shared() {
            return Err(Error::Unsupported { op: "sequential Monte Carlo", what: "all particles of a population share one condition" });
        }
        let device = x.device();
        let particles = x.shape().batch();
        let mut x = x.clone();
        let mut potential = self.look_ahead(flow, reward, times[0], &x, &noise.stream(3))?;
        let mut log_weights = potential.clone();
        let last = times.len() - 2;
        for (index, pair) in times.windows(2).enumerate() {
            let (t, span) = (pair[0], pair[1] - pair[0]);
            let noise = noise.fork(index as u64);
            let at = flow.path.coefficients(t);
            let guidance = guide.guide(flow, t, &x, &noise.stream(1))?;
            let deviation = libm::sqrt(2.0 * at.half_sigma_squared() * span);
            let kick = device.normal(&noise, x.shape())?;
            let guided = slope(Dynamics::Sde, &at, &guidance, &x)?;
            let next = T::linear_combination(&[(1.0, &x), (span, &guided), (deviation, &kick)])?;
            let change = self.transition(&guidance, span, deviation, &kick)?;
            let there = self.look_ahead(flow, reward, pair[1], &next, &noise.stream(3))?;
            for (i, weight) in log_weights.iter_mut().enumerate() {
                *weight += change.get(i).copied().unwrap_or(0.0) + there[i] - potential[i];
            }
            (x, potential) = (next, there);
            let weights = normalise(&log_weights);
            let size = effective_sample_size(&weights);
            let resampled = index == last || size < self.threshold * particles as f64;
            if resampled {
                let mut uniform = [0.0];
                noise.stream(2).fill_uniform(&mut uniform);
                let chosen = systematic(&weights, particles, uniform[0]);
                x = x.gather(0, &chosen)?;
                potential = chosen.iter().map(|&i| potential[i]).collect();
                log_weights = vec![0.0; particles];
            }
            on_step(Generation { index, effective_sample_size: size, resampled })?;
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
            return reward.value(x)?.to_vec();
        }
        match self.potential {
            Potential::PosteriorMean => reward.value(&flow.posterior_mean(t, x)?)?.to_vec(),
            Potential::Value(draws) => estimate_value(flow, reward, t, x, draws, noise)?.value.to_vec(),
        }
    }

    /// log N(x'; unguided) − log N(x'; guided) for x' = guided mean + deviation·kick; empty without a correction.
    fn transition<T: Tensor>(&self, guidance: &Guidance<T>, span: f64, deviation: f64, kick: &T) -> Result<Vec<f64>> {
        let Some(correction) = &guidance.correction else { return Ok(Vec::new()) };
        // The guided mean lies 2 span c further; in units of the deviation, that is δ, and the log ratio is −δ·kick − ‖δ‖²/2.
        let shift = correction.scale(2.0 * span / deviation)?;
        let cross = shift.mul(kick)?.sum_items()?;
        T::linear_combination(&[(-1.0, &cross), (-0.5, &shift.square_norm_items()?)])?.to_vec()
    }
}
