//! The closed forms as tensors: what a learned Meta Flow Map is measured against, behind the same traits.
//!
//! | type | what it is |
//! |---|---|
//! | [`MixtureDrift`] | b_t(x), a teacher in closed form, differentiable to any order |
//! | [`ExactFlowMap`] | the Meta Flow Map itself, by a high-order solver; obeys every law |
//! | [`TransportMap`] | the Knothe–Rosenblatt map: exact posteriors at the cost of a few quantiles |
//! | [`ExactGradient`] | ∇V in closed form, as a guide |
//!
//! [`QuadraticReward`](crate::QuadraticReward) is a [`Reward`](mfm_core::Reward) over any tensor.

mod drift;
mod flow_map;
mod guide;
mod reward;
mod transport_map;

pub use drift::MixtureDrift;
pub use flow_map::ExactFlowMap;
pub use guide::ExactGradient;
pub use transport_map::TransportMap;

use mfm_core::{Error, Result, Tensor};

/// The values of some times that no derivative is taken by.
fn untracked_times<T: Tensor>(times: &T) -> Result<Vec<f64>> {
    if times.is_tracked() {
        return Err(Error::NotDifferentiable { op: "an exact map by its times" });
    }
    times.to_vec()
}
