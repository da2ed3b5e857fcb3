//! A tensor's values never change while it lives, whatever becomes of its neighbours; and the same work gives the same bits.

use super::derivatives::COTANGENT;
use super::host::same_bits;
use super::runs::{recomputed, reverse};
use crate::conformance::case::Case;
use crate::conformance::failure::{Check, Failure, Within};
use crate::conformance::input::{Domain, Input, Layout};
use crate::conformance::operation::{Operation, UNARIES};
use crate::conformance::tables::{self, DIFFERENTIABLE, Group, HOOKS};
use mfm_core::{Device, Operations, Tensor};
use std::collections::VecDeque;

/// The most elements of the operands of a case.
const LARGEST: usize = 1_000;
/// How many tensors are held at a time.
const HELD: usize = 300;

/// Every case of every differentiable group, and the groups without derivatives.
pub(super) fn every_case() -> impl Iterator<Item = (Group, Case)> {
    let groups = DIFFERENTIABLE.into_iter().chain(HOOKS).chain([Group::Compare, Group::Detach]);
    groups.flat_map(|group| group.cases().into_iter().map(move |case| (group, case))).filter(|(_, case)| case.elements() <= LARGEST)
}

/// A tensor with what it held when it was made.
struct Sentinel<T> {
    name: String,
    tensor: T,
    values: Vec<f64>,
}

impl<T: Tensor> Sentinel<T> {
    fn new(name: String, tensor: T) -> Result<Self, Failure> {
        let values = tensor.to_vec()?;
        Ok(Self { name, tensor, values })
    }

    fn check(&self) -> Check {
        same_bits(&self.values, &self.tensor.to_vec()?).within(|| format!("the values of a living tensor changed, {}", self.name))
    }
}

/// Holds inputs, outputs, views and gradients of everything the suite knows while others come and go, and verifies them all.
///
/// # Errors
/// The first tensor that changed.
pub fn sentinels<D: Device>(device: &D) -> Check {
    let mut held: VecDeque<Sentinel<D::Tensor>> = VecDeque::new();
    for (i, (group, case)) in every_case().enumerate() {
        let layout = if i % 2 == 0 { Layout::Contiguous } else { Layout::Permuted };
        let inputs = case.build(device, layout)?;
        let before = inputs.iter().map(|x| Sentinel::new(format!("an input of {}", case.name()), x.clone()));
        held.extend(before.collect::<Result<Vec<_>, _>>()?);
        let output = case.run(&inputs).within(|| case.name())?;
        held.push_back(Sentinel::new(format!("the output of {}", case.name()), output.clone())?);
        // Chains whose intermediate values nobody holds: the first candidates for reuse in place.
        drop(inputs);
        let mut chain = output.clone();
        for op in UNARIES {
            chain = chain.unary(op)?.sub(&chain)?;
        }
        if !matches!(group, Group::Compare | Group::Detach) {
            let inputs = case.build(device, layout)?;
            let w = Input::new(output.shape(), Domain::Small).build(device, layout, COTANGENT)?;
            let (value, gradients) = reverse(&case, &inputs, &w, &case.all())?;
            for tensor in gradients.into_iter().chain([value, w]) {
                held.push_back(Sentinel::new(format!("a gradient of {}", case.name()), tensor)?);
            }
        }
        if i % 32 == 0 {
            held.iter().try_for_each(Sentinel::check)?;
        }
        while held.len() > HELD {
            if let Some(sentinel) = held.pop_front() {
                sentinel.check()?;
            }
        }
    }
    device.sync()?;
    held.iter().try_for_each(Sentinel::check)
}

/// Every case gives the same bits when it is run again, in values and gradients, and when it is recomputed: a resumed run continues exactly.
///
/// # Errors
/// The first difference.
pub fn repeatable<D: Device>(device: &D) -> Check {
    for case in every_case().map(|(_, case)| case).chain(tables::large()) {
        let run = |recompute: bool| -> Result<Vec<Vec<f64>>, Failure> {
            let inputs = case.build(device, Layout::Contiguous)?;
            let output = if recompute { Tensor::recompute(&case, &inputs)? } else { case.run(&inputs)? };
            let mut found = vec![output.to_vec()?];
            if !matches!(case.operation, Operation::Compare(_) | Operation::Detach) {
                let w = Input::new(output.shape(), Domain::Small).build(device, Layout::Contiguous, COTANGENT)?;
                let (_, gradients) =
                    if recompute { recomputed(&case, &inputs, &w, &case.all()) } else { reverse(&case, &inputs, &w, &case.all()) }?;
                found.extend(gradients.iter().map(Tensor::to_vec).collect::<Result<Vec<_>, _>>()?);
            }
            Ok(found)
        };
        let first = run(false).within(|| case.name())?;
        for (recompute, how) in [(false, "run twice"), (true, "recomputed")] {
            let place = || format!("{}, {how}", case.name());
            let again = run(recompute).within(place)?;
            first.iter().zip(&again).try_for_each(|(first, again)| same_bits(first, again)).within(place)?;
        }
    }
    Ok(())
}
