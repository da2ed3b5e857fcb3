//! Native kernels for the fused hooks, each with its value and both derivatives.

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
    let _ = (op, inputs);
    Ok(None)
}

/// As [`mfm_core::Tensor::fused_vjp`].
pub(crate) fn vjp<E: Float>(op: &Fused, inputs: &[&CpuTensor<E>], needed: &[bool]) -> Result<Pulled<E>> {
    let _ = (op, inputs, needed);
    Ok(None)
}

/// As [`mfm_core::Tensor::fused_jvp`].
pub(crate) fn jvp<E: Float>(op: &Fused, inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    let _ = (op, inputs, tangents);
    Ok(None)
}
