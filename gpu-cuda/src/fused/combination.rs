//! Σ cᵢ xᵢ in one pass.

use super::{Pulled, Pushed};
use crate::elementwise::combine;
use crate::tensor::CudaTensor;
use mfm_core::tensor::{MAX_TERMS, sum_to};
use mfm_core::{Operations, Result, Shape, Tensor};

/// The shape of the sum; `None` if the operands do not broadcast, or if there are too few or too many.
fn shape_of(inputs: &[&CudaTensor]) -> Option<Shape> {
    let (first, rest) = inputs.split_first().filter(|(_, rest)| rest.len() < MAX_TERMS)?;
    rest.iter().try_fold(first.shape(), |shape, x| shape.broadcast(&x.shape(), "linear_combination").ok())
}

/// Σ cᵢ xᵢ.
pub(super) fn value(factors: &[f64; MAX_TERMS], inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    let Some(shape) = shape_of(inputs) else { return Ok(None) };
    let terms: Vec<(f64, &CudaTensor)> = factors.iter().copied().zip(inputs.iter().copied()).collect();
    combine(&terms, shape)
}

/// Σ cᵢ xᵢ with its pullback.
pub(super) fn vjp(factors: &[f64; MAX_TERMS], inputs: &[&CudaTensor], needed: &[bool]) -> Result<Pulled> {
    let Some(y) = value(factors, inputs)? else { return Ok(None) };
    let wanted: Vec<(f64, Option<Shape>)> =
        factors.iter().zip(inputs).zip(needed).map(|((c, x), needed)| (*c, needed.then(|| x.shape()))).collect();
    let pull = move |g: &CudaTensor| {
        let part = |&(factor, shape): &(f64, Option<Shape>)| shape.map(|shape| sum_to(g, shape)?.scale(factor)).transpose();
        wanted.iter().map(part).collect::<Result<Vec<_>>>()
    };
    Ok(Some((y, Box::new(pull))))
}

/// Σ cᵢ xᵢ with its tangent.
pub(super) fn jvp(factors: &[f64; MAX_TERMS], inputs: &[&CudaTensor], tangents: &[Option<&CudaTensor>]) -> Result<Pushed> {
    let Some(y) = value(factors, inputs)? else { return Ok(None) };
    let moving: Vec<(f64, &CudaTensor)> = factors.iter().zip(tangents).filter_map(|(c, t)| t.map(|t| (*c, t))).collect();
    Ok(combine(&moving, y.shape())?.map(|tangent| (y, tangent)))
}
