//! x + gate · branch.

use super::{Pulled, Pushed, fresh};
use crate::abi::GatedResidualArgs;
use crate::kernels::{GATED_RESIDUAL, GATED_RESIDUAL_JVP, Kernel};
use crate::space::Axes;
use crate::tensor::{ABSENT, CudaTensor};
use mfm_core::tensor::sum_to;
use mfm_core::{Operations, Result, Tensor};

const NAME: &str = "gated_residual";

/// The operands stretched to their common shape, if they have one.
fn operands(inputs: &[&CudaTensor]) -> Option<[CudaTensor; 3]> {
    let &[x, gate, branch] = inputs else { return None };
    let inner = gate.shape().broadcast(&branch.shape(), NAME).ok()?;
    let shape = x.shape().broadcast(&inner, NAME).ok()?;
    Some([x.stretched(NAME, shape).ok()?, gate.stretched(NAME, shape).ok()?, branch.stretched(NAME, shape).ok()?])
}

fn launch(
    kernel: Kernel,
    operands: &[CudaTensor; 3],
    tangents: &[Option<CudaTensor>; 3],
    out: &CudaTensor,
    tangent: Option<&CudaTensor>,
) -> Result<()> {
    let shape = out.shape();
    if shape.elements() == 0 {
        return Ok(());
    }
    let [x, gate, branch] = operands;
    let moving = |k: usize| tangents[k].as_ref().unwrap_or(&operands[k]).layout();
    let layouts = [x.layout(), gate.layout(), branch.layout(), moving(0), moving(1), moving(2)];
    let (axes, _) = Axes::new(shape, layouts, None);
    let view = |k: usize| tangents[k].as_ref().map_or(ABSENT, |t| axes.view(3 + k, t.address()));
    let arguments = GatedResidualArgs {
        space: axes.space(),
        x: axes.view(0, x.address()),
        gate: axes.view(1, gate.address()),
        branch: axes.view(2, branch.address()),
        tx: view(0),
        tgate: view(1),
        tbranch: view(2),
        out: out.address(),
        tangent: tangent.map_or(0, CudaTensor::address),
    };
    x.home().launch_over(NAME, kernel, shape.elements(), &arguments)
}

/// x + gate · branch.
pub(super) fn value(inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    let Some(operands) = operands(inputs) else { return Ok(None) };
    let out = fresh(&operands[0], NAME, operands[0].shape())?;
    launch(GATED_RESIDUAL, &operands, &[None, None, None], &out, None)?;
    Ok(Some(out))
}

/// x + gate · branch with its pullback.
pub(super) fn vjp(inputs: &[&CudaTensor], needed: &[bool]) -> Result<Pulled> {
    let (Some(y), &[x, gate, branch], &[need_x, need_gate, need_branch]) = (value(inputs)?, inputs, needed) else { return Ok(None) };
    let (x_shape, gate, branch) = (x.shape(), gate.clone(), branch.clone());
    let pull = move |g: &CudaTensor| {
        let gx = if need_x { Some(sum_to(g, x_shape)?) } else { None };
        let gg = if need_gate { Some(sum_to(&g.mul(&branch)?, gate.shape())?) } else { None };
        let gb = if need_branch { Some(sum_to(&g.mul(&gate)?, branch.shape())?) } else { None };
        Ok(vec![gx, gg, gb])
    };
    Ok(Some((y, Box::new(pull))))
}

/// x + gate · branch with its tangent.
pub(super) fn jvp(inputs: &[&CudaTensor], tangents: &[Option<&CudaTensor>]) -> Result<Pushed> {
    let (Some(operands), &[tx, tg, tb]) = (operands(inputs), tangents) else { return Ok(None) };
    let shape = operands[0].shape();
    let stretched = |t: Option<&CudaTensor>| t.map(|t| t.stretched(NAME, shape)).transpose();
    let tangents = [stretched(tx)?, stretched(tg)?, stretched(tb)?];
    let (out, tangent) = (fresh(&operands[0], NAME, shape)?, fresh(&operands[0], NAME, shape)?);
    launch(GATED_RESIDUAL_JVP, &operands, &tangents, &out, Some(&tangent))?;
    Ok(Some((out, tangent)))
}
