//! Posterior MCMC: steering by a Markov chain in the noise of the one-step map.
//!
//! The map turns the tilted posterior p(x1 | x_t) e^{r(x1)} into a law of the noise, N(ε; 0, I) e^{r(X_{0,1}(ε; t, x_t))}, which is
//! smooth, whitened and differentiable. At each time: pick one of some fresh ε by weight, move it by steps of MALA, set
//! x1 = X_{0,1}(ε), and go to the next time. Exact in law as the number of moves grows, for any number of times. Each chain has a step size of its own, so that no
//! sample depends on the others of its batch. It follows the chain's acceptance in the first half of a time's moves, which so keep the law only nearly; the second
//! half keeps it.

use crate::autodiff::{Tape, Var};
use crate::categorical::Concentration;
use crate::coupling::{Coupling, renoise};
use crate::draws::Draws;
use crate::error::{Error, Result};
use crate::flow_map::{Flow, Lift, MetaFlowMap};
use crate::memory;
use crate::noise::Noise;
use crate::reward::{Reward, rewards_and_gradients_of, rewards_of};
use crate::tensor::{Compare, Device, Operations, Tensor};
use crate::times::TimeGrid;
use crate::weights::{by_state, concentration, weights_of};

/// How to steer by posterior MCMC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PosteriorMcmc {
    /// The times; from 0 to 1 for samples.
    pub grid: TimeGrid,
    /// The fresh ε from which each chain starts, chosen by weight.
    pub fresh: Draws,
    /// Metropolis-adjusted Langevin steps at each time.
    pub moves: usize,
    /// How the next state is made.
    pub coupling: Coupling,
    /// The first step size h of ε' = ε + h ∇log π + √(2h) ξ; in the first half of the moves at each time a chain's is multiplied by exp(a − `acceptance`), a being
    /// the probability with which the move was to be accepted.
    pub step_size: f64,
    /// The acceptance that step sizes are adapted to; 0.57 is best for MALA (Roberts and Rosenthal, 1998).
    pub acceptance: f64,
}

impl PosteriorMcmc {
    /// `steps` even times, eight fresh ε, and `moves` moves at each.
    pub fn new(steps: usize, moves: usize) -> Self {
        Self { grid: TimeGrid::uniform(steps), fresh: Draws::new(8), moves, coupling: Coupling::Bridge, step_size: 0.1, acceptance: 0.57 }
    }

    /// Network evaluations for each sample: one for each fresh ε, three (forward and backward) for the chain's first gradient and
    /// for each move.
    pub fn evaluations(&self) -> usize {
        let chain = if self.moves == 0 { 1 } else { self.moves.saturating_add(1).saturating_mul(3) };
        self.grid.steps.saturating_mul(self.fresh.count.saturating_add(chain))
    }
}

/// How the chains of one time went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChainReport {
    /// The number of the time, from 0.
    pub index: usize,
    /// How concentrated the weights of the fresh ε were: where one has all of the weight, the chain had no choice of its start.
    pub start: Concentration,
    /// The share of accepted moves; 1 without moves.
    pub acceptance: f64,
    /// The step size at the end, the mean over the chains.
    pub step_size: f64,
}

/// A place of the chains: ε, log π up to a constant, its gradient, and x1.
struct Place<T> {
    noise: T,
    log_density: T,
    gradient: T,
    end: T,
}

impl<T: Tensor> Place<T> {
    /// The place of the chains at `noise`, by a map of constants.
    fn at<M: MetaFlowMap<Var<T>>>(flow: &Flow<'_, M>, reward: &impl Reward<T>, t: f64, x_t: &T, noise: T, rows: usize) -> Result<Self> {
        let blocks = Draws { count: 1, rows };
        let [log_density, gradient, end] = blocks.for_blocks(flow, &noise, |flow, (start, states), block| {
            let tape = Tape::new();
            let variable = tape.variable(block.clone());
            let state = Var::constant(x_t.slice(0, start, states)?);
            let end = flow.posterior(&variable, t, &state)?;
            let (rewards, slopes) = rewards_and_gradients_of(reward, end.value())?;
            let pulled = tape.backward(&end, slopes)?.of(&variable)?;
            let log_density = rewards.add(&block.square_norm_items()?.scale(-0.5)?)?;
            Ok([log_density, pulled.sub(block)?, end.into_value()])
        })?;
        Ok(Self { noise, log_density, gradient, end })
    }

    /// ε + h ∇log π, the mean of a move by steps of size h, `[n]`.
    fn ahead(&self, h: &T) -> Result<T> {
        self.noise.gated_residual(&h.per_item(self.noise.shape())?, &self.gradient)
    }

    /// The places of `other` where `accept` is 1.
    fn take(self, accept: &T, other: Self) -> Result<Self> {
        let mask = accept.per_item(self.noise.shape())?;
        Ok(Self {
            noise: mask.select(&other.noise, &self.noise)?,
            log_density: accept.select(&other.log_density, &self.log_density)?,
            gradient: mask.select(&other.gradient, &self.gradient)?,
            end: mask.select(&other.end, &self.end)?,
        })
    }
}

/// Moves `x` from the first time of the grid to the last. `on_step` gets a report of the chains at each time, and may stop the run by
/// an error. The noise of time k is `noise.fork(k)`, of its move m `noise.fork(k).fork(m)`.
///
/// # Errors
/// Those of the map, the reward and `on_step`; [`Error::Range`] for a bad grid, step size or acceptance, or zero draws or samples.
pub fn steer_by_mcmc<T: Tensor, M: Lift<T>>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    options: &PosteriorMcmc,
    x: &T,
    noise: &Noise,
    on_step: &mut dyn FnMut(ChainReport) -> Result<()>,
) -> Result<T> {
    if !(options.step_size > 0.0 && options.step_size.is_finite()) {
        return Err(Error::Range { what: "the step size", value: options.step_size, range: "positive and finite" });
    }
    if !(options.acceptance > 0.0 && options.acceptance < 1.0) {
        return Err(Error::Range { what: "the acceptance", value: options.acceptance, range: "between 0 and 1" });
    }
    let frozen = flow.map.frozen()?;
    let mut step_sizes = memory::filled("posterior MCMC", options.step_size, x.shape().batch())?;
    let mut x = x.clone();
    for (k, pair) in options.grid.times(flow.path)?.windows(2).enumerate() {
        let noise = noise.fork(k as u64);
        let (start, weights) = fresh_start(flow, reward, options.fresh, pair[0], &x, &noise)?;
        let (end, acceptance) = if options.moves == 0 {
            (flow.posterior(&start, pair[0], &x)?, 1.0)
        } else {
            move_chains(&flow.with_map(&frozen), reward, options, (pair[0], &x), start, &mut step_sizes, &noise)?
        };
        let step_size = step_sizes.iter().sum::<f64>() / step_sizes.len() as f64;
        x = renoise(flow, options.coupling, (pair[0], pair[1]), &x, &end, &noise.stream(2))?;
        on_step(ChainReport { index: k, start: concentration(&weights)?, acceptance, step_size })?;
    }
    Ok(x)
}

/// One of the fresh ε of each state, by weight, and the weights, [states, draws].
fn fresh_start<T: Tensor, M: Lift<T>>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    fresh: Draws,
    t: f64,
    x: &T,
    noise: &Noise,
) -> Result<(T, T)> {
    let mut uniforms = memory::filled("posterior MCMC", 0.0, x.shape().batch())?;
    noise.stream(1).fill_uniform(&mut uniforms);
    let [chosen, weights] = fresh.for_blocks(flow, x, |flow, (start, states), block| {
        let candidates = fresh.noise(noise, block, (start, states))?;
        let rewards = rewards_of(reward, &flow.posterior(&candidates, t, block)?)?;
        let weights = weights_of(&by_state(&rewards, states, fresh.count)?)?;
        Ok([candidates.gather(0, &weights.choose_rows(&uniforms[start..])?)?, weights.reported])
    })?;
    Ok((chosen, weights))
}

/// −‖to − mean‖²/(4h), the log density of proposing `to`.
fn log_proposal<T: Tensor>(to: &T, mean: &T, h: &T) -> Result<T> {
    to.sub(mean)?.square_norm_items()?.div(&h.scale(-4.0)?)
}

/// The chains' ends x1 after all moves from `start`, by a map of constants, and the share of accepted moves.
fn move_chains<T: Tensor, M: MetaFlowMap<Var<T>>>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    options: &PosteriorMcmc,
    (t, x): (f64, &T),
    start: T,
    step_sizes: &mut [f64],
    noise: &Noise,
) -> Result<(T, f64)> {
    let device = x.device();
    let mut place = Place::at(flow, reward, t, x, start, options.fresh.rows)?;
    let per_chain = place.log_density.shape();
    let mut accepted = device.zeros(per_chain)?;
    let placed = |step_sizes: &[f64]| -> Result<(T, T)> {
        let h = device.from_slice(step_sizes, per_chain)?;
        let deviation = h.scale(2.0)?.sqrt()?.per_item(x.shape())?;
        Ok((h, deviation))
    };
    let (mut h, mut deviation) = placed(step_sizes)?;
    for index in 0..options.moves {
        let noise = noise.fork(index as u64);
        let ahead = place.ahead(&h)?;
        let proposal = ahead.gated_residual(&deviation, &device.normal(&noise, x.shape())?)?;
        let there = Place::at(flow, reward, t, x, proposal, options.fresh.rows)?;
        let back = log_proposal(&place.noise, &there.ahead(&h)?, &h)?;
        let forth = log_proposal(&there.noise, &ahead, &h)?;
        let log_ratio = there.log_density.sub(&place.log_density)?.add(&back)?.sub(&forth)?;
        let mut uniforms = memory::filled("posterior MCMC", 0.0, x.shape().batch())?;
        noise.stream(1).fill_uniform(&mut uniforms);
        uniforms.iter_mut().for_each(|u| *u = libm::log(1.0 - *u));
        // A ratio that is NaN is not accepted.
        let accept = device.from_slice(&uniforms, per_chain)?.compare(Compare::Less, &log_ratio)?;
        if 2 * index < options.moves {
            let (log_ratio, here) = (log_ratio.to_vec::<f64>()?, place.log_density.to_vec::<f64>()?);
            for ((step_size, log_ratio), here) in step_sizes.iter_mut().zip(log_ratio).zip(here) {
                // From an impossible place every step may lead to another, however small it is.
                if here > f64::NEG_INFINITY {
                    let probability = if log_ratio.is_nan() { 0.0 } else { libm::exp(log_ratio.min(0.0)) };
                    *step_size = (*step_size * libm::exp(probability - options.acceptance)).clamp(1e-12, 1e3);
                }
            }
            (h, deviation) = placed(step_sizes)?;
        }
        accepted = accepted.add(&accept)?;
        place = place.take(&accept, there)?;
    }
    let share = accepted.mean_all()?.to_vec::<f64>()?[0] / options.moves as f64;
    Ok((place.end, share))
}
