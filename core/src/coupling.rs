//! From a state and a draw of its clean data to a state at a later time.

use crate::error::{Error, Result};
use crate::flow_map::Flow;
use crate::interpolant::check_time;
use crate::noise::Noise;
use crate::tensor::{Device, Operations, Tensor};

/// How x_u is made from x_t and a draw of x1. All three keep the marginals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Coupling {
    /// The Gaussian bridge q(x_u | x_t, x1).
    #[default]
    Bridge,
    /// x_u = α_u z + β_u x1 with the noise z = (x_t − β_t x1)/α_t that the state had.
    SameNoise,
    /// x_u = α_u z + β_u x1 with fresh noise z.
    FreshNoise,
}

/// x_u for the next time `u`, given x_t and x1, both `[n, ...]`.
///
/// # Errors
/// [`Error::Range`] unless 0 ≤ t ≤ u ≤ 1.
pub fn renoise<T: Tensor, M>(flow: &Flow<'_, M>, coupling: Coupling, (t, u): (f64, f64), x_t: &T, x1: &T, noise: &Noise) -> Result<T> {
    check_time("the time of the states", t)?;
    check_time("the next time", u)?;
    if u < t {
        return Err(Error::Range { what: "the next time", value: u, range: "no earlier than that of the states" });
    }
    let (at, next) = (flow.path.coefficients(t), flow.path.coefficients(u));
    if next.alpha == 0.0 {
        return Ok(x1.clone());
    }
    match coupling {
        Coupling::Bridge => {
            let bridge = flow.path.bridge(t, u)?;
            let fresh = x1.device().normal(noise, x1.shape())?;
            T::linear_combination(&[(bridge.data, x1), (bridge.state, x_t), (bridge.deviation, &fresh)])
        }
        Coupling::SameNoise => {
            let kept = next.alpha / at.alpha;
            T::linear_combination(&[(kept, x_t), (next.beta - kept * at.beta, x1)])
        }
        Coupling::FreshNoise => {
            let fresh = x1.device().normal(noise, x1.shape())?;
            T::linear_combination(&[(next.alpha, &fresh), (next.beta, x1)])
        }
    }
}
