//! Native kernels for the fused hooks, each with its value and both derivatives.
//!
//! A hook answers `None` to operands that its kernel does not take, so that the composed body runs, or reports what is wrong with them.

mod activation;
mod attention;
mod combination;
mod layer_norm;
mod layers;
mod linear;
mod residual;
mod softmax;
mod square_norm;
mod sums;

use crate::tensor::CudaTensor;
use mfm_core::tensor::{Activation, Fused, Pullback};
use mfm_core::{Error, Layout, Result, Shape, Tensor};

/// A value with its pullback.
type Pulled = Option<(CudaTensor, Pullback<CudaTensor>)>;
/// A value with its tangent.
type Pushed = Option<(CudaTensor, CudaTensor)>;

/// As [`mfm_core::Tensor::fused`].
pub(crate) fn value(op: &Fused, inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    match op {
        Fused::Linear { activation } => linear::value(*activation, inputs),
        Fused::Layers { .. } => Ok(None),
        Fused::Activate { activation } => activation::value(*activation, inputs),
        Fused::LinearCombination { factors } => combination::value(factors, inputs),
        Fused::Softmax { axis } => softmax::value(*axis, inputs),
        Fused::LogMeanExp { axis } => softmax::log_mean(*axis, inputs),
        Fused::LayerNorm { epsilon } => layer_norm::value(*epsilon, inputs),
        Fused::Attention => attention::value(inputs),
        Fused::GatedResidual => residual::value(inputs),
        Fused::SquareNorm => square_norm::value(inputs),
    }
}

/// As [`mfm_core::Tensor::fused_vjp`].
pub(crate) fn vjp(op: &Fused, inputs: &[&CudaTensor], needed: &[bool]) -> Result<Pulled> {
    let found = match op {
        Fused::Linear { activation } => linear::vjp(*activation, inputs, needed),
        Fused::Layers { between, last } => layers::vjp_of_all(*between, *last, inputs, needed),
        Fused::Activate { activation } => activation::vjp(*activation, inputs),
        Fused::LinearCombination { factors } => combination::vjp(factors, inputs, needed),
        Fused::Softmax { axis } => softmax::vjp(*axis, inputs),
        Fused::LogMeanExp { axis } => softmax::log_mean_vjp(*axis, inputs),
        Fused::LayerNorm { epsilon } => layer_norm::vjp(*epsilon, inputs, needed),
        Fused::Attention => attention::vjp(inputs, needed),
        Fused::GatedResidual => residual::vjp(inputs, needed),
        Fused::SquareNorm => square_norm::vjp(inputs),
    }?;
    let Some((value, pull)) = found else { return Ok(None) };
    // Kernels take a cotangent's address as it is.
    let (name, device, shape) = (op.name(), value.home().clone(), value.shape());
    let checked = move |g: &CudaTensor| {
        if !g.home().same(&device) {
            return Err(Error::DeviceMismatch { op: name });
        }
        if g.shape() != shape {
            return Err(Error::Shape { op: name, left: shape, right: g.shape() });
        }
        pull(g)
    };
    Ok(Some((value, Box::new(checked))))
}

/// As [`mfm_core::Tensor::fused_jvp`].
pub(crate) fn jvp(op: &Fused, inputs: &[&CudaTensor], tangents: &[Option<&CudaTensor>]) -> Result<Pushed> {
    // A missing tangent is zero; one of another shape is the composed body's business.
    let fits = inputs.len() == tangents.len() && inputs.iter().zip(tangents).all(|(x, t)| t.is_none_or(|t| t.shape() == x.shape()));
    if !fits || tangents.iter().all(Option::is_none) {
        return Ok(None);
    }
    let moving: Vec<&CudaTensor> = inputs.iter().copied().chain(tangents.iter().copied().flatten()).collect();
    crate::tensor::one_device(op.name(), &moving)?;
    match op {
        Fused::Linear { activation } => linear::jvp(*activation, inputs, tangents),
        Fused::Layers { .. } => Ok(None),
        Fused::Activate { activation } => activation::jvp(*activation, inputs, tangents),
        Fused::LinearCombination { factors } => combination::jvp(factors, inputs, tangents),
        Fused::Softmax { axis } => softmax::jvp(*axis, inputs, tangents),
        Fused::LogMeanExp { axis } => softmax::log_mean_jvp(*axis, inputs, tangents),
        Fused::LayerNorm { epsilon } => layer_norm::jvp(*epsilon, inputs, tangents),
        Fused::Attention => attention::jvp(inputs, tangents),
        Fused::GatedResidual => residual::jvp(inputs, tangents),
        Fused::SquareNorm => Ok(None),
    }
}

/// An activation's number.
fn number_of(activation: Activation) -> i32 {
    match activation {
        Activation::Identity => 0,
        Activation::Silu => 1,
        Activation::Gelu => 2,
        Activation::Tanh => 3,
    }
}

/// A new tensor, row-major, of arbitrary content.
fn fresh(like: &CudaTensor, op: &'static str, shape: Shape) -> Result<CudaTensor> {
    Ok(CudaTensor::new(like.home().elements(op, shape.elements())?, shape))
}

/// `x` as if it were contiguous, seen under `layout`'s shape: the inverse of a permutation.
fn contiguous_view(x: &CudaTensor, shape: Shape) -> CudaTensor {
    x.view(Layout { offset: x.layout().offset, ..Layout::contiguous(shape) })
}
