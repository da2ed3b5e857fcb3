//! Native faces of every hook, made from the decorators, with the faults that belong to hooks.

use super::tensor::{BrokenTensor, without_nan};
use super::{BrokenDevice, Fault};
use crate::conformance::reference::Reference;
use mfm_core::autodiff::{Dual, Tape, Var};
use mfm_core::tensor::{Activation, Fused, Pullback, Transpose, Unary};
use mfm_core::{Error, Operations, Result, Shape, Tensor};

/// The hook in primitives, with a fault that all its faces share.
fn body<T: Tensor>(fault: Fault, op: &Fused, inputs: &[&T]) -> Result<T> {
    match (fault, *op, inputs) {
        (Fault::SoftmaxWithoutMaximum, Fused::Softmax { axis }, [x]) => {
            let e = x.exp()?;
            e.div(&e.sum(axis)?)
        }
        (Fault::GeluApproximate, Fused::Activate { activation: Activation::Gelu }, [x]) => x.mul(&x.scale(1.702)?.unary(Unary::Sigmoid)?),
        (Fault::LogMeanExpForgetsMean, Fused::LogMeanExp { axis }, [x]) => op.composed(&[*x])?.shift((x.shape().axis(axis)? as f64).ln()),
        (Fault::LayerNormAddsEpsilonLater, Fused::LayerNorm { epsilon }, [x, scale, shift]) => {
            let axis = x.shape().rank().checked_sub(1).ok_or(Error::Rank { op: "layer_norm", rank: 0 })?;
            let centred = x.sub(&x.mean(axis)?)?;
            let deviation = centred.square()?.mean(axis)?.sqrt()?.shift(epsilon)?;
            centred.div(&deviation)?.mul(&scale.shift(1.0)?)?.add(shift)
        }
        (Fault::AttentionUnscaled, Fused::Attention, [q, k, v]) => {
            let scores = q.matmul(k, Transpose::RIGHT)?;
            let axis = scores.shape().rank() - 1;
            Fused::Softmax { axis }.composed(&[&scores])?.matmul(v, Transpose::NONE)
        }
        (Fault::LinearForgetsBias, Fused::Linear { .. }, [x, weight, bias]) => {
            // The gradient still flows, so only the value tells.
            op.composed(&[*x, *weight, &bias.sub(&bias.detach())?])
        }
        (Fault::ResidualForgetsGate, Fused::GatedResidual, [x, gate, branch]) => {
            op.composed(&[*x, &gate.sub(&gate.detach())?.shift(1.0)?, *branch])
        }
        (Fault::SquareNormTakesRoot, Fused::SquareNorm, [_]) => op.composed(inputs)?.sqrt(),
        (Fault::CombinationForgetsThird, Fused::LinearCombination { mut factors }, [_, _, _]) => {
            factors[2] = 0.0;
            Fused::LinearCombination { factors }.composed(inputs)
        }
        (Fault::CombinationReadsAll, Fused::LinearCombination { factors }, _) => {
            let beyond: f64 = factors[inputs.len().min(factors.len())..].iter().map(|factor| 0.0 * factor).sum();
            op.composed(inputs)?.unary(Unary::Shift(beyond))
        }
        (Fault::LayersForgetFourth, Fused::Layers { .. }, [first @ .., bias]) if inputs.len() > 7 => {
            let none = bias.zeros_like()?;
            op.composed(&[first, &[&none]].concat())
        }
        (Fault::HookBroadcastsBias, Fused::Linear { .. }, [x, weight, bias]) if bias.shape().axes() == [1] => {
            op.composed(&[*x, *weight, &bias.broadcast(Shape::new(&[weight.shape().batch()])?)?])
        }
        _ => op.composed(inputs),
    }
}

fn values(inputs: &[&BrokenTensor]) -> Vec<Reference> {
    inputs.iter().map(|input| input.value()).collect()
}

pub(super) fn value(op: &Fused, inputs: &[&BrokenTensor]) -> Result<Option<BrokenTensor>> {
    let Some(first) = inputs.first() else { return Ok(None) };
    let values = values(inputs);
    first.wrap(body(first.fault(), op, &values.iter().collect::<Vec<_>>())).map(Some)
}

pub(super) fn jvp(
    op: &Fused,
    inputs: &[&BrokenTensor],
    tangents: &[Option<&BrokenTensor>],
) -> Result<Option<(BrokenTensor, BrokenTensor)>> {
    let Some(first) = inputs.first() else { return Ok(None) };
    let fault = first.fault();
    let none_first = tangents.first().is_some_and(Option::is_none);
    let mut duals = Vec::new();
    for (i, (value, tangent)) in values(inputs).into_iter().zip(tangents).enumerate() {
        let dropped = (fault == Fault::JvpDropsTangent && i == 1) || (fault == Fault::JvpNeedsFirst && none_first);
        duals.push(match tangent {
            Some(tangent) if !dropped => Dual::new(value, tangent.value_by(Fault::JvpForgetsStretch))?,
            _ => Dual::constant(value),
        });
    }
    let output = body(fault, op, &duals.iter().collect::<Vec<_>>())?;
    let tangent = output.tangent().map_or_else(|| output.value().zeros_like(), |tangent| Ok(tangent.clone()));
    Ok(Some((first.wrap(Ok(output.value().clone()))?, first.wrap(tangent)?)))
}

/// The cotangents of the inputs of `op`, computed anew for each call of the pullback.
fn cotangents(fault: Fault, op: &Fused, inputs: &[Reference], needed: &[bool], g: &Reference) -> Result<Vec<Option<Reference>>> {
    let tape = Tape::new();
    let variable = |(x, needed): (&Reference, &bool)| if *needed { tape.variable(x.clone()) } else { Var::constant(x.clone()) };
    let variables: Vec<Var<Reference>> = inputs.iter().zip(needed).map(variable).collect();
    let inputs: Vec<&Var<Reference>> = variables.iter().collect();
    let output = match (fault, *op) {
        // x/(1 + e⁻ˣ), with the derivative of that: ∞/∞ far below zero.
        (Fault::VjpSaturates, Fused::Linear { activation: Activation::Silu }) => {
            let z = Fused::Linear { activation: Activation::Identity }.composed(&inputs)?;
            z.div(&z.neg()?.exp()?.shift(1.0)?)?
        }
        _ => body(fault, op, &inputs)?,
    };
    let gradients = tape.backward(&output, g.clone())?;
    variables.iter().zip(needed).map(|(x, &needed)| needed.then(|| gradients.of_or_zeros(x)).transpose()).collect()
}

pub(super) fn vjp(op: &Fused, inputs: &[&BrokenTensor], needed: &[bool]) -> Result<Option<(BrokenTensor, Pullback<BrokenTensor>)>> {
    let Some(first) = inputs.first() else { return Ok(None) };
    let (op, needed, values, fault) = (*op, needed.to_vec(), values(inputs), first.fault());
    let mut output = body(fault, &op, &values.iter().collect::<Vec<_>>())?;
    if fault == Fault::VjpValueWrong {
        output = output.scale(1.0 + 1e-9)?;
    }
    let output = first.wrap(Ok(output))?;
    let device = first.device();
    let calls = std::cell::Cell::new(0);
    let pullback: Pullback<BrokenTensor> = Box::new(move |g| {
        calls.set(calls.get() + 1);
        let g = g.value_by(Fault::VjpForgetsStretch);
        let mut found = cotangents(fault, &op, &values, &needed, &g)?;
        spoil(fault, &mut found, &needed, &g, calls.get())?;
        Ok(found.into_iter().map(|part| part.map(|part| own(&device, part))).collect())
    });
    Ok(Some((output, pullback)))
}

fn own(device: &BrokenDevice, value: Reference) -> BrokenTensor {
    BrokenTensor::new(device.clone(), value)
}

/// The faults of the backward face alone.
fn spoil(fault: Fault, found: &mut Vec<Option<Reference>>, needed: &[bool], g: &Reference, call: usize) -> Result<()> {
    let zeros = |part: &mut Reference| part.zeros_like().map(|zeros| *part = zeros);
    match fault {
        Fault::PullbackTwice if call > 2 => found.iter_mut().flatten().try_for_each(zeros)?,
        Fault::VjpMiddleAlone if needed.iter().filter(|needed| **needed).count() == 1 => {
            let last = found.len().saturating_sub(1);
            found.iter_mut().take(last).skip(1).flatten().try_for_each(zeros)?;
        }
        Fault::VjpLosesNan => found.iter_mut().flatten().try_for_each(|part| without_nan(part, 0.0).map(|found| *part = found))?,
        Fault::VjpDropsCotangent if found.len() > 1 => found[1] = None,
        Fault::VjpZeroCotangent => {
            if let Some(Some(second)) = found.get_mut(1) {
                *second = second.zeros_like()?;
            }
        }
        Fault::VjpPacksNeeded => found.retain(Option::is_some),
        Fault::VjpForgetsBroadcast => {
            if let Some(last) = found.last_mut().filter(|last| last.as_ref().is_some_and(|last| last.shape() != g.shape())) {
                *last = Some(g.clone());
            }
        }
        Fault::PullbackOnce if call > 1 => {
            for part in found.iter_mut().flatten() {
                *part = part.zeros_like()?;
            }
        }
        _ => {}
    }
    Ok(())
}
