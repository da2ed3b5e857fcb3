//! The faces of the native hooks, called as the decorators call them.

use super::derivatives::COTANGENT;
use super::runs::{forward, reverse};
use super::{judge, judge_failed};
use crate::conformance::case::Case;
use crate::conformance::failure::{Check, Within, require};
use crate::conformance::input::{Domain, Input, Layout};
use crate::conformance::tables::{Group, HOOKS};
use crate::conformance::tolerances::Tolerances;
use mfm_core::{Device, Result, Tensor};

/// The most elements of the operands of a case.
const LARGEST: usize = 10_000;

/// Every native face of a hook: its value, its jvp with missing tangents, its vjp with cotangents that are not needed, the
/// pullback three times. Tangents and cotangents are contiguous, sliced, and stretched along either end, as the gradients of sums are.
///
/// # Errors
/// The first difference.
pub fn faces<D: Device>(device: &D, tolerances: &Tolerances, group: Group) -> Check {
    use Layout::{Contiguous, SlicedRows, Stretched, StretchedLast};
    for case in group.cases().iter().filter(|case| case.elements() <= LARGEST) {
        let tried = |layouts, choices: &[Vec<bool>]| {
            choices.iter().try_for_each(|chosen| {
                let place = || format!("{} ({layouts:?}), native faces by {chosen:?}", case.name());
                one(device, tolerances, case, layouts, chosen).within(place)
            })
        };
        tried([Contiguous; 2], &case.choices())?;
        tried([SlicedRows; 2], &case.choices())?;
        tried([Contiguous, Stretched], &[case.all()])?;
        tried([Contiguous, StretchedLast], &[case.all()])?;
    }
    Ok(())
}

fn one<D: Device>(device: &D, tolerances: &Tolerances, case: &Case, [layout, moving]: [Layout; 2], chosen: &[bool]) -> Check {
    let Some(op) = case.operation.hook() else { return Ok(()) };
    let judge = judge(tolerances);
    let (x, v) = (case.build(&judge, layout).map_err(judge_failed)?, case.directions(&judge, moving).map_err(judge_failed)?);
    let (value, tangent) = forward(case, &x, &v, chosen).map_err(judge_failed)?;
    let cotangent = Input::new(value.shape(), Domain::Small);
    let w = cotangent.build(&judge, moving, COTANGENT).map_err(judge_failed)?;
    let (_, gradients) = reverse(case, &x, &w, chosen).map_err(judge_failed)?;

    let (x, v) = (case.build(device, layout)?, case.directions(device, moving)?);
    let inputs: Vec<&D::Tensor> = x.iter().collect();
    if let Some(own) = Tensor::fused(&op, &inputs).within(|| "fused")? {
        tolerances.agree(&value, &own).within(|| "fused")?;
    }
    let tangents: Vec<Option<&D::Tensor>> = v.iter().zip(chosen).map(|(v, &chosen)| chosen.then_some(v)).collect();
    if let Some((own, own_tangent)) = Tensor::fused_jvp(&op, &inputs, &tangents).within(|| "fused_jvp")? {
        tolerances.agree(&value, &own).within(|| "the value of fused_jvp")?;
        tolerances.agree(&tangent, &own_tangent).within(|| "fused_jvp")?;
    }
    let Some((own, pullback)) = Tensor::fused_vjp(&op, &inputs, chosen).within(|| "fused_vjp")? else { return Ok(()) };
    tolerances.agree(&value, &own).within(|| "the value of fused_vjp")?;
    let w = cotangent.build(device, moving, COTANGENT)?;
    for call in ["the pullback", "the pullback, called again", "the pullback, called once more"] {
        let found = pullback(&w).within(|| call)?;
        require(found.len() == x.len(), || format!("{} cotangents for {} inputs", found.len(), x.len())).within(|| call)?;
        let mut expected = gradients.iter();
        for (i, (found, _)) in found.iter().zip(chosen).enumerate().filter(|(_, (_, chosen))| **chosen) {
            require(found.is_some(), || format!("no cotangent for input {i}, which was needed")).within(|| call)?;
            if let (Some(expected), Some(found)) = (expected.next(), found) {
                tolerances.agree(expected, found).within(|| format!("{call}, input {i}"))?;
            }
        }
    }
    Ok(())
}

/// Which faces of which hooks the device has, of those that the suite's cases call: one line for each hook.
///
/// # Errors
/// The device's.
pub fn support<D: Device>(device: &D) -> Result<String> {
    let mut lines = String::new();
    for group in HOOKS {
        let (mut count, mut faces) = (0, [0; 3]);
        for case in group.cases().iter().filter(|case| case.elements() <= LARGEST) {
            let Some(op) = case.operation.hook() else { continue };
            let x = case.build(device, Layout::Contiguous)?;
            let inputs: Vec<&D::Tensor> = x.iter().collect();
            let tangents: Vec<Option<&D::Tensor>> = inputs.iter().copied().map(Some).collect();
            count += 1;
            faces[0] += usize::from(Tensor::fused(&op, &inputs)?.is_some());
            faces[1] += usize::from(Tensor::fused_vjp(&op, &inputs, &vec![true; x.len()])?.is_some());
            faces[2] += usize::from(Tensor::fused_jvp(&op, &inputs, &tangents)?.is_some());
        }
        let [value, vjp, jvp] = faces;
        lines += &format!("{group:?}: of {count} cases, native value {value}, vjp {vjp}, jvp {jvp}\n");
    }
    Ok(lines)
}
