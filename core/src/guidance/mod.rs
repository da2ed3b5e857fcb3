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

use crate::categorical::Concentration;
use crate::error::{Error, Result};
use crate::flow_map::{Flow, MetaFlowMap};
use crate::interpolant::Interpolant;
use crate::noise::Noise;
use crate::tensor::{Operations, Tensor};
use crate::weights::concentration;

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
