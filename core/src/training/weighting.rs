//! Weights of the residuals of a batch.

use crate::autodiff::Var;
use crate::error::Result;
use crate::shape::Shape;
use crate::tensor::{Device, Operations, Tensor};

/// The weight (‖Δ‖² + c)^(−p) of a residual Δ, detached (*Mean Flows*, section 4.3). p = 0 is the plain mean square. Of a map with a loss
/// weight of its own, Δ is the residual so weighted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveWeight {
    /// c > 0.
    pub offset: f64,
    /// p ≥ 0.
    pub power: f64,
}

impl AdaptiveWeight {
    /// No adaptive weight.
    pub const NONE: Self = Self { offset: 0.01, power: 0.0 };
}

/// The mean over the batch of qᵢ (qᵢ + c)^(−p), qᵢ = weightᵢ ‖Δᵢ‖²: a scalar. `weights`, if any, holds one factor for each item.
///
/// The map's own weight comes first, so that the adaptive one sees the residual of its network, as it is meant to: were both measured on
/// Δ, a map that weighs small residuals by up to 10⁶ would have them raised by the adaptive weight once more, and training would diverge.
pub(super) fn weighted_mean_square<T: Tensor>(residual: &Var<T>, adaptive: AdaptiveWeight, weights: Option<&[f64]>) -> Result<Var<T>> {
    let mut squares = residual.square_norm_items()?;
    if let Some(weights) = weights {
        let factor = squares.value().device().from_slice(weights, Shape::new(&[weights.len()])?)?;
        squares = squares.mul(&Var::constant(factor))?;
    }
    if adaptive.power != 0.0 {
        let factor = squares.value().shift(adaptive.offset)?.log()?.scale(-adaptive.power)?.exp()?;
        squares = squares.mul(&Var::constant(factor))?;
    }
    squares.mean_all()
}
