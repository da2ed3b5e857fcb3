//! x + gate · branch.

use super::sums::{Groups, Partial, goes_by_vectors, goes_by_vectors_or_repeats};
use super::{Pulled, Pushed, contiguous_view, fresh};
use crate::abi::{GatedResidualArgs, GatedResidualVjpArgs};
use crate::kernels::{GATED_RESIDUAL, GATED_RESIDUAL_JVP, GATED_RESIDUAL_VJP, Grid, Kernel, Suffix};
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

/// The gradients of gate and branch in one pass over g and branch, for a gate that is one row for each group of rows; `None` for other operands.
fn pull_groups(
    g: &CudaTensor,
    gate: &CudaTensor,
    branch: &CudaTensor,
    need_branch: bool,
) -> Result<Option<(CudaTensor, Option<CudaTensor>)>> {
    let shape = g.shape();
    let Some(groups) = Groups::of(shape, gate.shape()).filter(|groups| groups.rows > 1 && branch.shape() == shape) else { return Ok(None) };
    let stretched = gate.stretched(NAME, shape)?;
    if shape.elements() == 0 || !goes_by_vectors_or_repeats(&stretched) {
        return Ok(None);
    }
    let (g, branch) = (g.contiguous()?, branch.contiguous()?);
    if !goes_by_vectors(&g) || !goes_by_vectors(&branch) {
        return Ok(None);
    }
    let device = g.home();
    let width = shape.elements() / (groups.count * groups.rows);
    // 256 threads take 32 vectors of columns; three blocks for each of the 132 multiprocessors of an H100, which has room for them.
    let tiles = groups.count * (width * device.storage().bytes()).div_ceil(32 * 16);
    let parts = groups.parts(tiles, 3 * 132, 8);
    let sums = Partial::new(device, NAME, parts, 1, groups.count * width)?;
    let gbranch = if need_branch { Some(fresh(&g, NAME, shape)?) } else { None };
    let (axes, _) = Axes::new(shape, [stretched.layout()], Some(shape.rank() - 1));
    let arguments = GatedResidualVjpArgs {
        space: axes.space(),
        gate: axes.view(0, stretched.address()),
        g: g.address(),
        branch: branch.address(),
        gbranch: gbranch.as_ref().map_or(0, CudaTensor::address),
        sums: sums.buffer.address(),
        group: groups.rows as i64,
    };
    device.launch(NAME, GATED_RESIDUAL_VJP, Suffix::Of(device.storage()), Grid::new([tiles, parts, 1], 256), &arguments)?;
    Ok(Some((contiguous_view(&sums.total(0, 1)?, gate.shape()), gbranch)))
}

/// x + gate · branch with its pullback.
pub(super) fn vjp(inputs: &[&CudaTensor], needed: &[bool]) -> Result<Pulled> {
    let (Some(y), &[x, gate, branch], &[need_x, need_gate, need_branch]) = (value(inputs)?, inputs, needed) else { return Ok(None) };
    let (x_shape, gate, branch) = (x.shape(), gate.clone(), branch.clone());
    let pull = move |g: &CudaTensor| {
        let gx = if need_x { Some(sum_to(g, x_shape)?) } else { None };
        if need_gate && let Some((gg, gb)) = pull_groups(g, &gate, &branch, need_branch)? {
            return Ok(vec![gx, Some(gg), gb]);
        }
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
