//! Random programs against the judge: values, and derivatives in both directions.

use super::{judge, judge_failed};
use crate::conformance::failure::{Check, Failure, Within};
use crate::conformance::input::{Domain, Input, Layout};
use crate::conformance::program::{Plan, Program, program, property};
use crate::conformance::reference::Reference;
use crate::conformance::tolerances::Tolerances;
use mfm_core::autodiff::{Dual, Tape, Var};
use mfm_core::{Device, Error, Operations, Result, Tensor};

/// How many programs are run.
const CASES: u32 = 400;
/// The step of difference quotients.
const STEP: f64 = 1.0 / 1_048_576.0;
/// How far from the inputs, along the direction, they are taken: away from zeros, at which alone a branch may be another.
const AWAY: f64 = 0.0137;

/// Everything that random programs compute.
///
/// # Errors
/// The smallest program that gives something else.
pub fn programs<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    property(CASES, &program(), |program| program_values_agree(device, tolerances, program))
}

/// Everything that a program computes, compared only at its end, so that what is overwritten on the way is seen.
///
/// # Errors
/// The first difference.
pub fn program_values_agree<D: Device>(device: &D, tolerances: &Tolerances, program: &Program) -> Check {
    let judge = judge(tolerances);
    let plan = program.plan(&judge).map_err(judge_failed)?;
    let expected = plan.run(plan.inputs(&judge).map_err(judge_failed)?)?;
    let actual = plan.run(plan.inputs(device)?)?;
    (0..)
        .zip(expected.iter().zip(&actual))
        .try_for_each(|(i, (expected, actual))| tolerances.agree(expected, actual).within(|| format!("tensor {i} of {plan:?}")))
}

/// The gradient of the sum of everything that random programs compute, and their tangents.
///
/// # Errors
/// The smallest program that gives something else.
pub fn program_gradients<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    property(CASES / 2, &program(), |program| program_derivatives_agree(device, tolerances, program))
}

/// The gradient of the sum of everything that a program computes, and its tangents.
///
/// # Errors
/// The first difference.
pub fn program_derivatives_agree<D: Device>(device: &D, tolerances: &Tolerances, program: &Program) -> Check {
    let judge = judge(tolerances);
    let plan = program.plan(&judge).map_err(judge_failed)?;
    let expected = derivatives(&plan, &judge)?;
    let actual = derivatives(&plan, device)?;
    (0..).zip(expected.iter().zip(&actual)).try_for_each(|(i, (expected, actual)): (usize, (&Reference, _))| {
        tolerances.agree(expected, actual).within(|| format!("derivative {i} of {plan:?}"))
    })
}

/// The tangent of the sum of everything that a program computes against difference quotients, where it is smooth. The device must compute in f64.
///
/// # Errors
/// If they differ.
pub fn program_slopes_agree<D: Device>(device: &D, program: &Program) -> Check {
    let judge = judge(&Tolerances::F64);
    let plan = program.plan(&judge).map_err(judge_failed)?;
    let directions = directions(&plan.inputs(device)?)?;
    let away = |(x, v): (&D::Tensor, &D::Tensor)| x.add(&v.scale(AWAY)?);
    let places = plan.inputs(device)?.iter().zip(&directions).map(away).collect::<Result<Vec<_>, Error>>()?;
    let total = |step: f64| -> Result<f64, Failure> {
        let moved = places.iter().zip(&directions).map(|(x, v)| x.add(&v.scale(step)?)).collect::<Result<Vec<_>, Error>>()?;
        plan.run(moved)?.iter().try_fold(0.0, |sum, x| Ok(sum + x.to_vec::<f64>()?.iter().sum::<f64>()))
    };
    let (here, ahead, behind) = (total(0.0)?, total(STEP)?, total(-STEP)?);
    let moving = places.iter().zip(&directions).map(|(x, v)| Dual::new(x.clone(), v.clone())).collect::<Result<Vec<_>, Error>>()?;
    let (mut slope, mut size) = (0.0, here.abs().max(1.0));
    for tangent in plan.run(moving)?.iter().filter_map(Dual::tangent) {
        for value in tangent.to_vec::<f64>()? {
            slope += value;
            size += value.abs();
        }
    }
    // Where the two sides differ there is a kink or a strong bend, and where nothing is finite there is nothing to compare.
    let (left, right) = ((here - behind) / STEP, (ahead - here) / STEP);
    let is_smooth = (left - right).abs() <= 1e-3 * size;
    let middle = 0.5 * (left + right);
    if is_smooth && (slope - middle).abs() > 1e-3 * size {
        return Err(Failure::new(format!("the tangent of the sum is {slope:e}, the difference quotient {middle:e}, of {plan:?}")));
    }
    Ok(())
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
    let moving = inputs.iter().zip(directions(&inputs)?).map(|(x, v)| Dual::new(x.clone(), v));
    for computed in plan.run(moving.collect::<Result<Vec<_>, Error>>()?)? {
        found.push(computed.tangent().map_or_else(|| computed.value().zeros_like(), |tangent| Ok(tangent.clone()))?);
    }
    Ok(found)
}

/// A direction for each input.
fn directions<T: Tensor>(inputs: &[T]) -> Result<Vec<T>, Error> {
    inputs.iter().zip(101..).map(|(x, seed)| Input::new(x.shape(), Domain::Small).build(&x.device(), Layout::Contiguous, seed)).collect()
}
