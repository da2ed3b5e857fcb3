//! MFM-G: the gradient of a log-mean-exponential through the map.

use super::{Guidance, Guide, half_sigma_squared};
use crate::autodiff::{Tape, Var};
use crate::categorical::Concentration;
use crate::draws::{Draws, draws_of};
use crate::error::Result;
use crate::flow_map::{Flow, Lift, MetaFlowMap};
use crate::noise::Noise;
use crate::reward::{Reward, rewards_and_gradients_of};
use crate::shape::Shape;
use crate::tensor::{Operations, Tensor};
use crate::weights::{by_state, concentration, weights_of};

/// ∇V ≈ ∇_x log (1/N) Σ_i exp r(X_{0,1}(ε_i; t, x)), by one backward pass through the map (Meta Flow Maps, estimator MFM-G).
///
/// Consistent as N → ∞ for a reward that is the integral of its gradient along every path (continuous, and differentiable except at corners). Where it jumps,
/// also to −∞, the limit is wrong: what the value gains at a jump is in no gradient, and [`MfmGradientFree`](super::MfmGradientFree) is right. At finite N the
/// plug-in logarithm biases it towards the gradient at single draws, most where the reward varies much over the posterior.
#[derive(Clone, Copy, Debug)]
pub struct MfmGradient<'a, R> {
    /// The reward, with its gradient.
    pub reward: &'a R,
    /// The posterior draws.
    pub draws: Draws,
}

impl<T: Tensor, M: Lift<T>, R: Reward<T>> Guide<T, M> for MfmGradient<'_, R> {
    fn guide(&self, flow: &Flow<'_, M>, t: f64, x: &T, noise: &Noise) -> Result<Guidance<T>> {
        let scale = half_sigma_squared(flow.path, t)?;
        let ValueGradient { gradient, weights, .. } = estimate_value_gradient(flow, self.reward, t, x, self.draws, noise)?;
        Ok(Guidance { drift: flow.drift(t, x)?, correction: Some(gradient.scale(scale)?), weights: Some(weights) })
    }
}

/// An estimate of V_t and of its gradient at a batch of states.
#[derive(Clone, Debug)]
pub struct ValueGradient<T> {
    /// V_t(x) of each state, `[n]`, as [`estimate_value`](super::estimate_value) has it.
    pub value: T,
    /// ∇V_t(x), `[n, ...]`.
    pub gradient: T,
    /// The weights of the draws, [n, draws]. Each row sums to one, or is zero where no draw is possible: the gradient is then the plain mean of the draws'.
    pub weights: T,
}

impl<T: Tensor> ValueGradient<T> {
    /// How concentrated the weights are.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn concentration(&self) -> Result<Concentration> {
        concentration(&self.weights)
    }
}

/// V and ∇V at the states x of `[n, ...]` by the estimator of [`MfmGradient`], without the factor σ²/2: finite at every t, at t = 1 r and ∇r of the state itself.
///
/// # Errors
/// Those of the map and of the reward; [`Error::Range`](crate::Error::Range) for zero draws or states, or a time outside [0, 1].
pub fn estimate_value_gradient<T: Tensor, M: Lift<T>>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    t: f64,
    x: &T,
    draws: Draws,
    noise: &Noise,
) -> Result<ValueGradient<T>> {
    crate::interpolant::check_time("t", t)?;
    let frozen = flow.map.frozen()?;
    let [value, gradient, weights] = draws.for_blocks(&flow.with_map(&frozen), x, |flow, part, block| {
        let noise = draws.noise(noise, block, part)?;
        let ValueGradient { value, gradient, weights } = gradient_of_draws(flow, reward, t, block, &noise)?;
        Ok([value, gradient, weights])
    })?;
    Ok(ValueGradient { value, gradient, weights })
}

/// V and ∇V at the states x by draws of the given `noise`, [states·draws, ...], with a map of constants ([`Lift::frozen`]).
///
/// # Errors
/// Those of the map and of the reward; [`Error::Shape`](crate::Error::Shape) unless there are as many draws for each state.
pub fn gradient_of_draws<T: Tensor, M: MetaFlowMap<Var<T>>>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    t: f64,
    x: &T,
    noise: &T,
) -> Result<ValueGradient<T>> {
    let (states, rows) = (x.shape().batch(), noise.shape().batch());
    let draws = draws_of(noise.shape(), x.shape())?;
    let tape = Tape::new();
    let state = tape.variable(x.clone());
    let ends = flow.posterior(&Var::constant(noise.clone()), t, &state)?;
    let (rewards, slopes) = rewards_and_gradients_of(reward, ends.value())?;
    // The gradient of a log-mean-exponential is the weighted mean of the gradients.
    let rewards = by_state(&rewards, states, draws)?;
    let weights = weights_of(&rewards)?;
    let cotangent = slopes.mul(&weights.used.reshape(slopes.shape().per_item(rows)?)?)?;
    let value = rewards.log_mean_exp(1)?.reshape(Shape::new(&[states])?)?;
    Ok(ValueGradient { value, gradient: tape.backward(&ends, cotangent)?.of(&state)?, weights: weights.reported })
}
