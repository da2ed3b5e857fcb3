//! Second derivatives, by every way of nesting the decorators.

use super::derivatives::COTANGENT;
use super::runs::{Second, gradient_of_gradient, gradient_of_tangent, tangent_of_gradient, tangent_of_tangent};
use super::{judge, judge_failed};
use crate::conformance::case::Case;
use crate::conformance::failure::{Check, Within, require};
use crate::conformance::input::{Domain, Input, Layout};
use crate::conformance::reference::Reference;
use crate::conformance::tables::Group;
use crate::conformance::tolerances::Tolerances;
use mfm_core::{Device, Tensor};

/// The most elements of the operands of a case that is differentiated twice.
const LARGEST: usize = 2_000;

/// The ways to nest the decorators over a tensor.
fn ways<T: Tensor>() -> [(&'static str, Second<T>); 4] {
    [
        ("Dual<Var>", gradient_of_tangent),
        ("Var<Dual>", tangent_of_gradient),
        ("Var<Var>", gradient_of_gradient),
        ("Dual<Dual>", tangent_of_tangent),
    ]
}

/// The second derivatives of every case of a group by all its inputs, and by the first alone.
///
/// # Errors
/// The first difference.
pub fn second<D: Device>(device: &D, tolerances: &Tolerances, group: Group) -> Check {
    let small = |case: &&Case| case.elements() <= LARGEST;
    group.cases().iter().filter(small).try_for_each(|case| second_derivatives(device, tolerances, case))
}

/// The second derivatives of one case: each way against the judge's, and those that should be equal against each other.
///
/// # Errors
/// The first difference.
pub fn second_derivatives<D: Device>(device: &D, tolerances: &Tolerances, case: &Case) -> Check {
    let judge = judge(tolerances);
    let layout = Layout::Contiguous;
    let x = case.build(&judge, layout).map_err(judge_failed)?;
    let v = case.directions(&judge, layout).map_err(judge_failed)?;
    let cotangent = Input::new(case.run(&x).map_err(judge_failed)?.shape(), Domain::Small);
    let w = cotangent.build(&judge, layout, COTANGENT).map_err(judge_failed)?;
    let (own_x, own_v) = (case.build(device, layout)?, case.directions(device, layout)?);
    let own_w = cotangent.build(device, layout, COTANGENT)?;
    let choices = case.choices();
    let ends = [choices.first(), choices.last()].into_iter().flatten();
    for chosen in ends {
        let mut found: Vec<Vec<Reference>> = Vec::new();
        for ((name, exact), (_, own)) in ways().into_iter().zip(ways()) {
            let place = || format!("{}, {name} by {chosen:?}", case.name());
            let expected = exact(case, &x, &v, &w, chosen).map_err(judge_failed).within(place)?;
            let actual = own(case, &own_x, &own_v, &own_w, chosen).within(place)?;
            require(actual.len() == expected.len(), || "the number of gradients differs").within(place)?;
            for (expected, actual) in expected.iter().zip(&actual) {
                tolerances.agree(expected, actual).within(place)?;
            }
            found.push(expected);
        }
        let place = || format!("{}, by {chosen:?}", case.name());
        if let [one, another, third, ..] = &found[..] {
            agree_both_ways(tolerances, one, another).within(place)?;
            agree_both_ways(tolerances, one, third).within(place)?;
        }
    }
    Ok(())
}

/// Two of the judge's own results, each with its own error.
fn agree_both_ways(tolerances: &Tolerances, one: &[Reference], another: &[Reference]) -> Check {
    for (one, another) in one.iter().zip(another) {
        for (i, (a, b)) in one.numbers().iter().zip(another.numbers()).enumerate() {
            let allowed = tolerances.relative * (a.error + b.error) + tolerances.tiny;
            let same = (a.value - b.value).abs() <= allowed || !allowed.is_finite();
            require(same, || format!("two ways give {:e} and {:e} at element {i}", a.value, b.value))?;
        }
    }
    Ok(())
}
