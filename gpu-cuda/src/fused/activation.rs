//! act(x), and its derivative in one pass.

use super::{Pulled, Pushed, fresh, number_of};
use crate::abi::ActivateArgs;
use crate::kernels::{ACTIVATE, ACTIVATE_JVP, ACTIVATE_VJP, Kernel};
use crate::tensor::CudaTensor;
use mfm_core::tensor::Activation;
use mfm_core::{Result, Tensor};

fn launch(kernel: Kernel, like: &CudaTensor, arguments: &ActivateArgs) -> Result<()> {
    let elements = arguments.elements as usize;
    if elements == 0 {
        return Ok(());
    }
    like.home().launch_over("activate", kernel, elements, arguments)
}

fn arguments(activation: Activation, x: &CudaTensor) -> ActivateArgs {
    ActivateArgs { elements: x.shape().elements() as i64, x: x.address(), op: number_of(activation), ..ActivateArgs::default() }
}

/// act(x).
pub(super) fn value(activation: Activation, inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    let &[x] = inputs else { return Ok(None) };
    let x = x.contiguous()?;
    let out = fresh(&x, "activate", x.shape())?;
    launch(ACTIVATE, &x, &ActivateArgs { out: out.address(), ..arguments(activation, &x) })?;
    Ok(Some(out))
}

/// act'(x) g, for x contiguous and g of its shape.
pub(super) fn slope(activation: Activation, x: &CudaTensor, g: &CudaTensor) -> Result<CudaTensor> {
    let g = g.contiguous()?;
    let out = fresh(x, "activate", x.shape())?;
    launch(ACTIVATE_VJP, x, &ActivateArgs { g: g.address(), out: out.address(), ..arguments(activation, x) })?;
    Ok(out)
}

/// act(x) and act'(x) t in one pass.
pub(super) fn push(activation: Activation, x: &CudaTensor, t: &CudaTensor) -> Result<(CudaTensor, CudaTensor)> {
    let (x, t) = (x.contiguous()?, t.contiguous()?);
    let (out, tangent) = (fresh(&x, "activate", x.shape())?, fresh(&x, "activate", x.shape())?);
    let addresses = ActivateArgs { g: t.address(), out: out.address(), tangent: tangent.address(), ..arguments(activation, &x) };
    launch(ACTIVATE_JVP, &x, &addresses)?;
    Ok((out, tangent))
}

/// act(x) with its pullback.
pub(super) fn vjp(activation: Activation, inputs: &[&CudaTensor]) -> Result<Pulled> {
    let &[x] = inputs else { return Ok(None) };
    let x = x.contiguous()?;
    let Some(out) = value(activation, &[&x])? else { return Ok(None) };
    Ok(Some((out, Box::new(move |g| Ok(vec![Some(slope(activation, &x, g)?)])))))
}

/// act(x) with its tangent.
pub(super) fn jvp(activation: Activation, inputs: &[&CudaTensor], tangents: &[Option<&CudaTensor>]) -> Result<Pushed> {
    let (&[x], &[Some(t)]) = (inputs, tangents) else { return Ok(None) };
    push(activation, x, t).map(Some)
}
