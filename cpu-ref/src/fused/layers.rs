//! Linear layers one after another, of a few rows: no tensors in between, and the next weight is asked for while an activation is computed.

use super::activation::finish;
use super::linear::left;
use crate::float::Float;
use crate::gemm::{Matrix, product};
use crate::matmul::{MANY, WORTHWHILE};
use crate::prefetch::prefetch;
use crate::tensor::CpuTensor;
use mfm_core::tensor::{Activation, Fused};
use mfm_core::{Result, Tensor};

/// How many bytes of the next weight are asked for.
const AHEAD: usize = 4096;

/// The layers' value, exactly that of one layer after another; `None` where threads share the work of a layer.
pub(super) fn value<E: Float>(between: Activation, last: Activation, inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    let [x, layers @ ..] = inputs else { return Ok(None) };
    let ((layers, []), Some(numbers), Some(axis)) = (layers.as_chunks::<2>(), x.as_slice(), x.shape().rank().checked_sub(1)) else {
        return Ok(None);
    };
    let (mut shape, mut rows, mut widest) = (x.shape(), 0, 0);
    for [weight, bias] in layers {
        let Ok((count, inner, out)) = Fused::linear_shape(shape, weight.shape(), Some(bias.shape())) else { return Ok(None) };
        let work = count.saturating_mul(inner + 16).saturating_mul(out);
        if count >= MANY || work > WORTHWHILE || out == 0 || bias.as_slice().is_none() {
            return Ok(None);
        }
        (shape, rows, widest) = (shape.with_axis(axis, out)?, count, widest.max(out));
    }
    let Some(size) = rows.checked_mul(widest).filter(|size| *size > 0) else { return Ok(None) };
    let mut buffers = x.home().buffer("layers", 2 * size)?;
    let mut result = x.home().buffer("layers", shape.elements())?;
    let (mut from, mut to) = buffers.elements_mut().split_at_mut(size);
    let mut inner = numbers.len() / rows;
    for (i, [weight, bias]) in layers.iter().enumerate() {
        let out = weight.shape().batch();
        let x = Matrix::row_major(if i == 0 { numbers } else { &from[..rows * inner] }, rows, inner);
        let next = layers.get(i + 1);
        let y = if next.is_some() { &mut to[..rows * out] } else { result.elements_mut() };
        product(y, x, left(weight).transposed(), false);
        if let Some([next, _]) = next {
            let line = 64 / size_of::<E>();
            (0..AHEAD / 64).for_each(|index| prefetch(next.elements(), next.layout().offset + index * line));
        }
        finish(if next.is_some() { between } else { last }, y, bias.as_slice());
        core::mem::swap(&mut from, &mut to);
        inner = out;
    }
    Ok(Some(CpuTensor::new(result, shape)))
}
