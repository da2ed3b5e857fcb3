//! Random programs against the judge: values, and derivatives in both directions.

use super::{judge, judge_failed};
use crate::conformance::failure::{Check, Failure, Within};
use crate::conformance::input::{Domain, Input, Layout};
use crate::conformance::program::{Plan, program, property};
use crate::conformance::reference::Reference;
use crate::conformance::tolerances::Tolerances;
use mfm_core::autodiff::{Dual, Tape, Var};
use mfm_core::{Device, Error, Operations, Result, Tensor};

/// How many programs are run.
const CASES: u32 = 400;

/// Everything that random programs compute, compared only at their end, so that what is overwritten on the way is seen.
///
/// # Errors
/// The smallest program that gives something else.
pub fn programs<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let judge = judge(tolerances);
    property(CASES, &program(), |program| {
        let plan = program.plan(&judge).map_err(judge_failed)?;
        let expected = plan.run(plan.inputs(&judge).map_err(judge_failed)?)?;
        let actual = plan.run(plan.inputs(device)?)?;
        (0..)
            .zip(expected.iter().zip(&actual))
            .try_for_each(|(i, (expected, actual))| tolerances.agree(expected, actual).within(|| format!("tensor {i} of {plan:?}")))
    })
}

/// The gradient of the sum of everything that random programs compute, and their tangents.
///
/// # Errors
/// The smallest program that gives something else.
pub fn program_gradients<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let judge = judge(tolerances);
    property(CASES / 2, &program(), |program| {
        let plan = program.plan(&judge).map_err(judge_failed)?;
        let expected = derivatives(&plan, &judge)?;
        let actual = derivatives(&plan, device)?;
        (0..).zip(expected.iter().zip(&actual)).try_for_each(|(i, (expected, actual)): (usize, (&Reference, _))| {
            tolerances.agree(expected, actual).within(|| format!("derivative {i} of {plan:?}"))
        })
    })
}

/// The gradient by each input, then the tangent of each result.
fn derivatives<D: Device>(plan: &Plan, device: &D) -> Result<Vec<D::Tensor>, Failure> {
    let inputs = plan.inputs(device)?;
    let tape = Tape::new();
    let variables: Vec<Var<D::Tensor>> = inputs.iter().map(|x| tape.variable(x.clone())).collect();
    let mut total = Var::constant(device.zeros(mfm_core::Shape::SCALAR)?);
    for computed in plan.run(variables.clone())? {
        total = total.add(&computed.sum_all()?)?;
    }
    let gradients = tape.backward(&total, device.full(1.0, mfm_core::Shape::SCALAR)?)?;
    let mut found = variables.iter().map(|x| gradients.of_or_zeros(x)).collect::<Result<Vec<_>, Error>>()?;
    let moving = inputs
        .iter()
        .zip(101..)
        .map(|(x, seed)| Dual::new(x.clone(), Input::new(x.shape(), Domain::Small).build(device, Layout::Contiguous, seed)?));
    for computed in plan.run(moving.collect::<Result<Vec<_>, Error>>()?)? {
        found.push(computed.tangent().map_or_else(|| computed.value().zeros_like(), |tangent| Ok(tangent.clone()))?);
    }
    Ok(found)
}
