//! First derivatives: forward and reverse against the judge's, and against each other.

use super::runs::{forward, reverse};
use super::{judge, judge_failed};
use crate::conformance::case::Case;
use crate::conformance::failure::{Check, Within, require};
use crate::conformance::input::{Domain, Input, Layout};
use crate::conformance::operation::Operation;
use crate::conformance::reference::{Number, Reference};
use crate::conformance::tables::Group;
use crate::conformance::tolerances::Tolerances;
use mfm_core::tensor::Binary;
use mfm_core::{Device, Tensor};

/// The most elements of the operands of a case that is differentiated.
const LARGEST: usize = 60_000;

/// The seed of cotangents.
pub(super) const COTANGENT: u64 = 201;

/// The derivatives of every case of a group by every choice of its inputs, on contiguous and on strided operands, along strided and stretched
/// directions; for a hook, of its native kernels and of its composed body.
///
/// # Errors
/// The first difference.
pub fn derivatives<D: Device>(device: &D, tolerances: &Tolerances, group: Group) -> Check {
    use Layout::{Contiguous, Permuted, Sliced, Stretched, StretchedLast};
    for case in group.cases().iter().filter(|case| case.elements() <= LARGEST) {
        for layouts in [[Contiguous; 2], [Permuted; 2]] {
            first_derivatives(device, tolerances, case, layouts, &case.choices())?;
        }
        // As the gradient of a sum is, or a direction of ones.
        first_derivatives(device, tolerances, case, [Contiguous, Stretched], &[case.all()])?;
        if let Operation::Fused(op) = case.operation {
            let composed = Case { operation: Operation::Composed(op), ..case.clone() };
            first_derivatives(device, tolerances, &composed, [Sliced, StretchedLast], &case.choices())?;
        }
    }
    Ok(())
}

/// The derivatives of one case, by each of some choices of its inputs: the operands in one layout, tangents and cotangent in another.
///
/// # Errors
/// The first difference.
pub fn first_derivatives<D: Device>(
    device: &D,
    tolerances: &Tolerances,
    case: &Case,
    [layout, moving]: [Layout; 2],
    choices: &[Vec<bool>],
) -> Check {
    let judge = judge(tolerances);
    let exact = (case.build(&judge, layout).map_err(judge_failed)?, case.directions(&judge, moving).map_err(judge_failed)?);
    let layouts = if layout == moving { format!("{layout:?}") } else { format!("{layout:?}, along {moving:?}") };
    let place = || format!("{} ({layouts})", case.name());
    let own = (case.build(device, layout).within(place)?, case.directions(device, moving).within(place)?);
    for chosen in choices {
        let place = |what: &str| format!("{} ({layouts}), {what} by {chosen:?}", case.name());
        let (value, tangent) = forward(case, &exact.0, &exact.1, chosen).map_err(judge_failed)?;
        let (own_value, own_tangent) = forward(case, &own.0, &own.1, chosen).within(|| place("jvp"))?;
        tolerances.agree(&value, &own_value).within(|| place("value with jvp"))?;
        tolerances.agree(&tangent, &own_tangent).within(|| place("jvp"))?;

        let cotangent = Input::new(value.shape(), Domain::Small);
        let weight = cotangent.build(&judge, moving, COTANGENT).map_err(judge_failed)?;
        let own_weight = cotangent.build(device, moving, COTANGENT)?;
        let (_, gradients) = reverse(case, &exact.0, &weight, chosen).map_err(judge_failed)?;
        let (own_value, own_gradients) = reverse(case, &own.0, &own_weight, chosen).within(|| place("vjp"))?;
        tolerances.agree(&value, &own_value).within(|| place("value with vjp"))?;
        for (gradient, own_gradient) in gradients.iter().zip(&own_gradients) {
            tolerances.agree(gradient, own_gradient).within(|| place("vjp"))?;
        }

        let directions: Vec<&Reference> = exact.1.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(v, _)| v).collect();
        let left = inner(&[&tangent], &[&weight], &[own_tangent.to_vec()?]);
        let own_gradients = own_gradients.iter().map(Tensor::to_vec).collect::<Result<Vec<_>, _>>()?;
        let right = inner(&gradients.iter().collect::<Vec<_>>(), &directions, &own_gradients);
        let allowed = tolerances.relative * (left.error + right.error) + tolerances.tiny;
        let same = (left.value - right.value).abs() <= allowed || !allowed.is_finite();
        require(same, || format!("⟨J v, w⟩ is {:e}, ⟨v, Jᵀ w⟩ is {:e} (allowed {allowed:e})", left.value, right.value))
            .within(|| place("the dot-product test"))?;
    }
    Ok(())
}

/// Σ ⟨a, b⟩ with the error bound of the judge, and with the device's own values of `a`.
fn inner(a: &[&Reference], b: &[&Reference], own: &[Vec<f64>]) -> Number {
    let terms = a.iter().zip(b).zip(own).flat_map(|((a, b), own)| {
        let products = a.numbers().iter().zip(b.numbers());
        products.zip(own).map(|((a, b), &own)| {
            let bound = a.binary(Binary::Mul, *b).error;
            Number::new(own * b.value, bound)
        })
    });
    Number::sum(terms.chain([Number::exact(0.0)]))
}
