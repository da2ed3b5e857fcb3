//! ‖x‖² of each item, without the squares in memory.

use super::Pulled;
use crate::reduce::sum_of_squares;
use crate::tensor::CudaTensor;
use mfm_core::{Operations, Result, Shape, Tensor};

/// Σ x² over all axes but the first.
pub(super) fn value(inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    let &[x] = inputs else { return Ok(None) };
    let (items, item) = (x.shape().batch(), x.shape().item());
    // Of single numbers there is nothing to add up.
    if items == 0 || item <= 1 {
        return Ok(None);
    }
    sum_of_squares(&x.reshape(Shape::new(&[items, item])?)?).map(Some)
}

/// Σ x² with its pullback 2 g x.
pub(super) fn vjp(inputs: &[&CudaTensor]) -> Result<Pulled> {
    let (Some(y), &[x]) = (value(inputs)?, inputs) else { return Ok(None) };
    let x = x.clone();
    let pull = move |g: &CudaTensor| Ok(vec![Some(x.mul(&g.scale(2.0)?.per_item(x.shape())?)?.reshape(x.shape())?)]);
    Ok(Some((y, Box::new(pull))))
}
