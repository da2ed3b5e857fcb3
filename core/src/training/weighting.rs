//! Weights of the residuals of a batch.

use crate::autodiff::Var;
use crate::error::Result;
use crate::shape::Shape;
use crate::tensor::{Device, Operations, Tensor};

/// The weight (‖Δ‖² + c)^(−p) of a residual Δ, detached (*Mean Flows*, section 4.3). p = 0 is the plain mean square.
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

/// The mean over the batch of weightᵢ ‖Δᵢ‖² (‖Δᵢ‖² + c)^(−p): a scalar. `weights`, if any, holds one factor for each item.
pub(super) fn weighted_mean_square<T: Tensor>(residual: &Var<T>, adaptive: AdaptiveWeight, weights: Option<&[f64]>) -> Result<Var<T>> {
    let squares = residual.square_norm_items()?;
    let mut weighted = squares.clone();
    if adaptive.power != 0.0 {
        let factor = squares.value().shift(adaptive.offset)?.log()?.scale(-adaptive.power)?.exp()?;
        weighted = weighted.mul(&Var::constant(factor))?;
    }
    if let Some(weights) = weights {
        let factor = squares.value().device().from_slice(weights, Shape::new(&[weights.len()])?)?;
        weighted = weighted.mul(&Var::constant(factor))?;
    }
    weighted.mean_all()
}
