//! Derivatives against finite differences, in f64.

use super::derivatives::COTANGENT;
use super::judge;
use super::runs::{forward, gradient_of_tangent, reverse, tangent_of_tangent};
use crate::conformance::case::Case;
use crate::conformance::failure::{Check, Failure, Within};
use crate::conformance::input::{Domain, Input, Layout, place};
use crate::conformance::tables::Group;
use crate::conformance::tolerances::Tolerances;
use mfm_core::{Device, Tensor};

/// The step: truncation errs by h² ≈ 6e-11, rounding by ε/h ≈ 3e-11, both times the function's own scale.
const STEP: f64 = 1.0 / 131_072.0;
/// What the difference may err by, for each unit of the function's scale.
const ALLOWED: f64 = 1e-7;
/// The most elements of the operands of a case that is tried.
const LARGEST: usize = 700;

/// jvp, vjp, and both orders of the second derivative of every case of a group against central differences.
/// The device must compute in f64.
///
/// # Errors
/// The first difference.
pub fn finite_differences<D: Device>(device: &D, group: Group) -> Check {
    for case in group.cases().iter().filter(|case| case.elements() <= LARGEST) {
        for chosen in case.choices() {
            one(device, case, &chosen).within(|| format!("{} by {chosen:?}", case.name()))?;
        }
    }
    Ok(())
}

/// The values of `f` at x + h v and x − h v, halved and divided by h.
fn difference<D: Device>(
    device: &D,
    case: &Case,
    chosen: &[bool],
    f: impl Fn(&[D::Tensor]) -> mfm_core::Result<Vec<D::Tensor>>,
) -> Result<Vec<Vec<f64>>, Failure> {
    let host = judge(&Tolerances::F64);
    let (x, v) = (case.build(&host, Layout::Contiguous)?, case.directions(&host, Layout::Contiguous)?);
    let at = |step: f64| -> mfm_core::Result<Vec<Vec<f64>>> {
        let moved = x.iter().zip(&v).zip(chosen).map(|((x, v), &chosen)| {
            let step = if chosen { step } else { 0.0 };
            let values: Vec<f64> = x.values().iter().zip(v.values()).map(|(x, v)| x + step * v).collect();
            place(device, &values, x.shape(), Layout::Contiguous)
        });
        f(&moved.collect::<mfm_core::Result<Vec<_>>>()?)?.iter().map(Tensor::to_vec).collect()
    };
    let (ahead, behind) = (at(STEP)?, at(-STEP)?);
    // The maximum over nothing is −∞ on both sides.
    let slope_of = |(a, b): (&f64, &f64)| if a == b { 0.0 } else { (a - b) / (2.0 * STEP) };
    let slope = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(slope_of).collect();
    Ok(ahead.iter().zip(&behind).map(slope).collect())
}

/// Each value against the difference, to [`ALLOWED`] of the largest of them and of one.
fn agree<T: Tensor>(what: &str, analytic: &[T], differences: &[Vec<f64>]) -> Check {
    for (analytic, difference) in analytic.iter().zip(differences) {
        let values: Vec<f64> = analytic.to_vec()?;
        let scale = values.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
        for (i, (value, slope)) in values.iter().zip(difference).enumerate() {
            if (value - slope).abs().partial_cmp(&(ALLOWED * scale)) != Some(std::cmp::Ordering::Less) {
                return Err(Failure::new(format!("{what}: element {i} is {value:e}, the difference quotient {slope:e}")));
            }
        }
    }
    Ok(())
}

fn one<D: Device>(device: &D, case: &Case, chosen: &[bool]) -> Check {
    let (x, v) = (case.build(device, Layout::Contiguous)?, case.directions(device, Layout::Contiguous)?);
    let (value, tangent) = forward(case, &x, &v, chosen)?;
    let w = Input::new(value.shape(), Domain::Small).build(device, Layout::Contiguous, COTANGENT)?;

    let slope = difference(device, case, chosen, |x| Ok(vec![case.run(x)?]))?;
    agree("jvp", &[tangent], &slope)?;

    // ⟨w, f⟩ along one direction is ⟨Jᵀ w, v⟩: the dot product of the gradient is checked, for many directions elsewhere.
    let (_, gradients) = reverse(case, &x, &w, chosen)?;
    let chosen_v = v.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(v, _)| v);
    let mut product = 0.0;
    for (gradient, v) in gradients.iter().zip(chosen_v) {
        product += dot(gradient, v)?;
    }
    let weights: Vec<f64> = w.to_vec()?;
    let along: f64 = slope.iter().flatten().zip(&weights).map(|(slope, w)| slope * w).sum();
    let scale: f64 = slope.iter().flatten().zip(&weights).map(|(slope, w)| (slope * w).abs()).sum();
    if (product - along).abs() > ALLOWED * (1.0 + scale) {
        return Err(Failure::new(format!("⟨v, Jᵀ w⟩ is {product:e}, the difference quotient {along:e}")));
    }

    let curve = difference(device, case, chosen, |x| Ok(reverse(case, x, &w, chosen)?.1))?;
    agree("gradient of jvp", &gradient_of_tangent(case, &x, &v, &w, chosen)?, &curve)?;
    let bend = difference(device, case, chosen, |x| Ok(vec![forward(case, x, &v, chosen)?.1]))?;
    agree("jvp of jvp", &tangent_of_tangent(case, &x, &v, &w, chosen)?, &bend)
}

fn dot<T: Tensor>(a: &T, b: &T) -> mfm_core::Result<f64> {
    let (a, b): (Vec<f64>, Vec<f64>) = (a.to_vec()?, b.to_vec()?);
    Ok(a.iter().zip(&b).map(|(a, b)| a * b).sum())
}
