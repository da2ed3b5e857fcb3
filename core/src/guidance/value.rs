//! The value function itself.

use crate::categorical::Concentration;
use crate::draws::Draws;
use crate::error::Result;
use crate::flow_map::{Flow, MetaFlowMap};
use crate::noise::Noise;
use crate::reward::{Reward, rewards_of};
use crate::sample::posterior_by_rollout;
use crate::shape::Shape;
use crate::tensor::{Operations, Tensor};
use crate::times::TimeGrid;
use crate::weights::{by_state, concentration, weights_of};

/// An estimate of V_t at a batch of states.
#[derive(Clone, Debug)]
pub struct ValueEstimate<T> {
    /// V_t(x) of each state, `[n]`.
    pub value: T,
    /// The weights of the draws, [n, draws]. Each row sums to one, or is zero where no draw is possible.
    pub weights: T,
}

impl<T: Tensor> ValueEstimate<T> {
    /// How concentrated the weights are.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn concentration(&self) -> Result<Concentration> {
        concentration(&self.weights)
    }
}

/// V_t(x) ≈ log (1/N) Σ_i exp r(X_{0,1}(ε_i; t, x)) for the states x of `[n, ...]`.
///
/// Biased low at finite N (Jensen), by about half the relative variance of exp r over N. Where r may be −∞, all draws may be forbidden, and the estimate −∞, at any N.
///
/// # Errors
/// Those of the map and of the reward; [`Error::Range`](crate::Error::Range) for zero draws or states.
pub fn estimate_value<T: Tensor, M: MetaFlowMap<T>>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    t: f64,
    x: &T,
    draws: Draws,
    noise: &Noise,
) -> Result<ValueEstimate<T>> {
    estimate(flow, reward, t, x, draws, noise, |flow, noise, block| flow.posterior(noise, t, block))
}

/// V_t(x) as [`estimate_value`] has it, with long rollouts ([`posterior_by_rollout`]) in place of one-step draws: the truth about the model's drift, up to the number of draws.
///
/// # Errors
/// As [`estimate_value`], and for a bad grid.
pub fn estimate_value_by_rollouts<T: Tensor, M: MetaFlowMap<T>>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    grid: &TimeGrid,
    t: f64,
    x: &T,
    draws: Draws,
    noise: &Noise,
) -> Result<ValueEstimate<T>> {
    estimate(flow, reward, t, x, draws, noise, |flow, noise, block| posterior_by_rollout(flow, grid, noise, t, block))
}

/// The value by draws that `draw` makes of noise and a block of states.
fn estimate<T: Tensor, M>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    t: f64,
    x: &T,
    draws: Draws,
    noise: &Noise,
    draw: impl Fn(&Flow<'_, M>, &T, &T) -> Result<T>,
) -> Result<ValueEstimate<T>> {
    crate::interpolant::check_time("t", t)?;
    let [value, weights] = draws.for_blocks(flow, x, |flow, (start, states), block| {
        let noise = draws.noise(noise, block, (start, states))?;
        let rewards = by_state(&rewards_of(reward, &draw(flow, &noise, block)?)?, states, draws.count)?;
        Ok([rewards.log_mean_exp(1)?.reshape(Shape::new(&[states])?)?, weights_of(&rewards)?.reported])
    })?;
    Ok(ValueEstimate { value, weights })
}
