//! x + gate · y.

use super::shared::products;
use super::{Pulled, Pushed};
use crate::elementwise::function;
use crate::float::Float;
use crate::tensor::CpuTensor;
use crate::ternary::{Map3, map3};
use alloc::boxed::Box;
use alloc::vec;
use mfm_core::tensor::sum_to;
use mfm_core::{Operations, Result, Tensor};

function!(Map3 Gated(x, gate, branch) = gate.fma::<FMA>(branch, x));

/// The three operands, if they broadcast.
fn operands<'a, E: Float>(inputs: &[&'a CpuTensor<E>]) -> Option<[&'a CpuTensor<E>; 3]> {
    let &[x, gate, branch] = inputs else { return None };
    let inner = gate.shape().broadcast(&branch.shape(), "gated_residual").ok()?;
    x.shape().broadcast(&inner, "gated_residual").ok().map(|_| [x, gate, branch])
}

/// x + gate · y.
pub(super) fn value<E: Float>(inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    operands(inputs).map(|operands| map3("gated_residual", operands, Gated)).transpose()
}

/// x + gate · y with its pullback.
pub(super) fn vjp<E: Float>(inputs: &[&CpuTensor<E>], needed: &[bool]) -> Result<Pulled<E>> {
    let (Some([x, gate, branch]), &[need_x, need_gate, need_branch]) = (operands(inputs), needed) else { return Ok(None) };
    let y = map3("gated_residual", [x, gate, branch], Gated)?;
    let (x_shape, gate, branch) = (x.shape(), gate.clone(), branch.clone());
    let pull = move |g: &CpuTensor<E>| {
        let gx = if need_x { Some(sum_to(g, x_shape)?) } else { None };
        let gg = if need_gate { Some(products(g, &branch, gate.shape())?) } else { None };
        let gb = if need_branch { Some(sum_to(&g.mul(&gate)?, branch.shape())?) } else { None };
        Ok(vec![gx, gg, gb])
    };
    Ok(Some((y, Box::new(pull))))
}

/// x + gate · y with its tangent.
pub(super) fn jvp<E: Float>(inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    let (Some([x, gate, branch]), &[tx, tg, tb]) = (operands(inputs), tangents) else { return Ok(None) };
    let y = map3("gated_residual", [x, gate, branch], Gated)?;
    let mut sum = tx.cloned();
    for (factor, term) in [(tg, branch), (tb, gate)] {
        sum = match (sum, factor) {
            (Some(sum), Some(factor)) => Some(map3("gated_residual", [&sum, factor, term], Gated)?),
            (None, Some(factor)) => Some(factor.mul(term)?),
            (sum, None) => sum,
        };
    }
    let Some(tangent) = sum else { return Ok(None) };
    let tangent = if tangent.shape() == y.shape() { tangent } else { tangent.broadcast(y.shape())? };
    Ok(Some((y, tangent)))
}
