//! Estimators of the value function V_t(x) = log E[exp r(X1) | x_t = x] and of its gradient.
//!
//! A [`Guide`] gives, at a state, the drift b and the Doob correction (σ²/2)∇V. The correction rather than the gradient, because
//! σ² is infinite at t = 0 where ∇V vanishes, and the gradient-free form needs no division.

mod adjustment;
mod dps;
mod gradient;
mod gradient_free;
mod value;

pub use adjustment::{Adjusted, clip_to, rescale_to};
pub use dps::Dps;
pub use gradient::{MfmGradient, ValueGradient, estimate_value_gradient, gradient_of_draws};
pub use gradient_free::{MfmGradientFree, correction_of_draws};
pub use value::{ValueEstimate, estimate_value, estimate_value_by_rollouts};

use crate::categorical::{Concentration, choose};
use crate::error::{Error, Result};
use crate::flow_map::{Flow, MetaFlowMap};
use crate::interpolant::Interpolant;
use crate::noise::Noise;
use crate::shape::Shape;
use crate::tensor::{Compare, Device, Operations, Reduce, Tensor, Unary};
use alloc::vec::Vec;

/// What a guide says of a batch of states.
#[derive(Clone, Debug)]
pub struct Guidance<T> {
    /// The drift b_t(x).
    pub drift: T,
    /// The Doob correction (σ²/2)∇V_t(x); `None` for no correction.
    pub correction: Option<T>,
    /// The weights of the posterior draws, [states, draws]; `None` for guides without draws. Each row sums to one, or is zero where no draw is possible (r = −∞).
    pub weights: Option<T>,
}

/// An estimator of (σ²/2)∇V.
pub trait Guide<T: Tensor, M: MetaFlowMap<T>> {
    /// Drift and correction at time `t` for the states `x`, `[n, ...]`. Draws use `noise`, whatever the split into blocks.
    ///
    /// # Errors
    /// Those of the map and of the reward.
    fn guide(&self, flow: &Flow<'_, M>, t: f64, x: &T, noise: &Noise) -> Result<Guidance<T>>;
}

/// σ²/2 at `t`, for estimators that multiply it by ∇V.
///
/// # Errors
/// [`Error::Range`] where it is infinite, at t = 0.
pub(crate) fn half_sigma_squared(path: &dyn Interpolant, t: f64) -> Result<f64> {
    let value = path.coefficients(t).half_sigma_squared();
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::Range { what: "the time of a guide by gradients", value: t, range: "above 0, where σ² is finite" })
}

/// κ at `t`, by which posterior means enter a drift.
///
/// # Errors
/// [`Error::Range`] where it is infinite, at t = 1.
pub(crate) fn kappa(path: &dyn Interpolant, t: f64) -> Result<f64> {
    let value = path.coefficients(t).kappa();
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Error::Range { what: "the time of weighted draws", value: t, range: "below 1, where κ is finite" })
    }
}

/// No guidance: samples of the model itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsteered;

impl<T: Tensor, M: MetaFlowMap<T>> Guide<T, M> for Unsteered {
    fn guide(&self, flow: &Flow<'_, M>, t: f64, x: &T, _: &Noise) -> Result<Guidance<T>> {
        Ok(Guidance { drift: flow.drift(t, x)?, correction: None, weights: None })
    }
}

/// `[states·draws]` rewards as [states, draws].
pub(crate) fn by_state<T: Tensor>(rewards: &T, states: usize, draws: usize) -> Result<T> {
    rewards.reshape(Shape::new(&[states, draws])?)
}

/// The weights of the draws, softmax r over those of each state, [states, draws].
pub(crate) struct Weights<T> {
    /// For choices and averages: equal where all of a state's draws are impossible (r = −∞).
    pub used: T,
    /// For reports: zero there, where no draw counts.
    pub reported: T,
}

impl<T: Tensor> Weights<T> {
    /// Of each state's draws, in rows of [states·draws, ...], the row of one that is chosen by its weight, with one uniform number for each state.
    pub fn choose_rows(&self, uniforms: &[f64]) -> Result<Vec<usize>> {
        let draws = self.used.shape().axis(1)?;
        let weights = self.used.to_vec::<f64>()?;
        let states = weights.chunks_exact(draws).zip(uniforms).enumerate();
        Ok(states.map(|(state, (weights, uniform))| state * draws + choose(weights, *uniform)).collect())
    }
}

/// The weights by the rewards, [states, draws].
pub(crate) fn weights_of<T: Tensor>(rewards: &T) -> Result<Weights<T>> {
    let constant = |value: f64| rewards.device().full(value, Shape::SCALAR);
    let zero = constant(0.0)?;
    let impossible = rewards.reduce(Reduce::Max, 1)?.compare(Compare::Equal, &constant(f64::NEG_INFINITY)?)?;
    let used = impossible.select(&zero, rewards)?.softmax(1)?;
    Ok(Weights { reported: impossible.select(&zero, &used)?, used })
}

/// Σ_i w_i x_i over the draws of each state: weights [states, draws], x of [states·draws, ...] → [states, ...].
pub(crate) fn weighted_mean<T: Tensor>(weights: &T, x: &T) -> Result<T> {
    let (shape, by) = (x.shape(), weights.shape());
    let (states, draws, item) = (by.axis(0)?, by.axis(1)?, shape.item());
    let x = x.reshape(Shape::new(&[states, draws, item])?)?;
    let mean = weights.reshape(Shape::new(&[states, 1, draws])?)?.matmul(&x, crate::tensor::Transpose::NONE)?;
    mean.reshape(shape.with_batch(states)?)
}

impl<T: Tensor> Guidance<T> {
    /// How concentrated the weights are; `None` for a guide without draws.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn concentration(&self) -> Result<Option<Concentration>> {
        self.weights.as_ref().map(concentration).transpose()
    }

    /// The mean over the states of ‖(σ²/2)∇V‖; zero without a correction.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn correction_norm(&self) -> Result<f64> {
        let Some(correction) = &self.correction else { return Ok(0.0) };
        let norms = correction.norm_items()?.mean_all()?;
        Ok(norms.to_vec::<f64>()?[0])
    }
}

/// The concentration of weights [states, draws], whose rows are zero where nothing is possible.
pub(crate) fn concentration<T: Tensor>(weights: &T) -> Result<Concentration> {
    let (squares, zero) = (weights.square()?.sum(1)?, weights.device().zeros(Shape::SCALAR)?);
    let size = squares.compare(Compare::Equal, &zero)?.select(&zero, &squares.unary(Unary::Recip)?)?.mean_all()?;
    let largest = weights.reduce(Reduce::Max, 1)?.mean_all()?;
    Ok(Concentration { effective_sample_size: size.to_vec::<f64>()?[0], largest_weight: largest.to_vec::<f64>()?[0] })
}
