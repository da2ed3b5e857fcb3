//! Native kernels for the fused hooks, each with its value and both derivatives.
//!
//! A kernel answers `None` to operands that it does not take, so that the composed body runs, or reports what is wrong with them.

#[macro_use]
mod activation;
mod attention;
mod combination;
mod layer_norm;
mod layers;
mod linear;
mod residual;
mod shared;
mod softmax;

use crate::float::Float;
use crate::tensor::CpuTensor;
use mfm_core::Result;
use mfm_core::tensor::{Fused, Pullback};

/// A value with its pullback.
type Pulled<E> = Option<(CpuTensor<E>, Pullback<CpuTensor<E>>)>;
/// A value with its tangent.
type Pushed<E> = Option<(CpuTensor<E>, CpuTensor<E>)>;

/// As [`mfm_core::Tensor::fused`].
pub(crate) fn value<E: Float>(op: &Fused, inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    match op {
        Fused::Linear { activation } => linear::value(*activation, inputs),
        Fused::Layers { between, last } => layers::value(*between, *last, inputs),
        Fused::Activate { activation } => activation::value(*activation, inputs),
        Fused::LinearCombination { factors } => combination::value(factors, inputs),
        Fused::Softmax { axis } => softmax::value(*axis, inputs),
        Fused::LogMeanExp { axis } => softmax::log_mean(*axis, inputs),
        Fused::LayerNorm { epsilon } => layer_norm::value(*epsilon, inputs),
        Fused::GatedResidual => residual::value(inputs),
        Fused::Attention => attention::value(inputs),
        Fused::SquareNorm => Ok(None),
    }
}

/// As [`mfm_core::Tensor::fused_vjp`].
pub(crate) fn vjp<E: Float>(op: &Fused, inputs: &[&CpuTensor<E>], needed: &[bool]) -> Result<Pulled<E>> {
    match op {
        Fused::Linear { activation } => linear::vjp(*activation, inputs, needed),
        Fused::Layers { .. } => Ok(None),
        Fused::Activate { activation } => activation::vjp(*activation, inputs),
        Fused::LinearCombination { factors } => combination::vjp(factors, inputs, needed),
        Fused::Softmax { axis } => softmax::vjp(*axis, inputs),
        Fused::LogMeanExp { axis } => softmax::log_mean_vjp(*axis, inputs),
        Fused::LayerNorm { epsilon } => layer_norm::vjp(*epsilon, inputs, needed),
        Fused::GatedResidual => residual::vjp(inputs, needed),
        Fused::Attention => attention::vjp(inputs),
        Fused::SquareNorm => Ok(None),
    }
}

/// As [`mfm_core::Tensor::fused_jvp`].
pub(crate) fn jvp<E: Float>(op: &Fused, inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    match op {
        Fused::Linear { activation } => linear::jvp(*activation, inputs, tangents),
        Fused::Layers { .. } => Ok(None),
        Fused::Activate { activation } => activation::jvp(*activation, inputs, tangents),
        Fused::LinearCombination { factors } => combination::jvp(factors, inputs, tangents),
        Fused::Softmax { axis } => softmax::jvp(*axis, inputs, tangents),
        Fused::LogMeanExp { axis } => softmax::log_mean_jvp(*axis, inputs, tangents),
        Fused::LayerNorm { epsilon } => layer_norm::jvp(*epsilon, inputs, tangents),
        Fused::GatedResidual => residual::jvp(inputs, tangents),
        Fused::Attention => attention::jvp(inputs, tangents),
        Fused::SquareNorm => Ok(None),
    }
}
