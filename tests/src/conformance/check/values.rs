//! Values, in every layout.

use super::optimiser::first_steps;
use super::{first_derivatives, judge, judge_failed};
use crate::conformance::case::Case;
use crate::conformance::failure::{Check, Within};
use crate::conformance::input::{LAYOUTS, Layout};
use crate::conformance::operation::Operation;
use crate::conformance::tables::{self, Group};
use crate::conformance::tolerances::Tolerances;
use mfm_core::Device;

/// Every case of a group, in every layout, against the judge. Hooks are native where the backend has them.
///
/// # Errors
/// The first difference.
pub fn values<D: Device>(device: &D, tolerances: &Tolerances, group: Group) -> Check {
    group.cases().iter().try_for_each(|case| value(device, tolerances, case, &LAYOUTS))
}

/// The same for the composed body of a hook, whatever the backend has.
///
/// # Errors
/// The first difference.
pub fn composed_values<D: Device>(device: &D, tolerances: &Tolerances, group: Group) -> Check {
    for case in group.cases() {
        if let Operation::Fused(op) = case.operation {
            value(device, tolerances, &Case { operation: Operation::Composed(op), ..case }, &LAYOUTS)?;
        }
    }
    Ok(())
}

/// The sizes at which a backend changes its ways: values and first derivatives.
///
/// # Errors
/// The first difference.
pub fn large<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    tables::large().iter().try_for_each(|case| sized(device, tolerances, case))
}

fn sized<D: Device>(device: &D, tolerances: &Tolerances, case: &Case) -> Check {
    value(device, tolerances, case, &[Layout::Contiguous, Layout::Permuted, Layout::SlicedRows])?;
    if matches!(case.operation, Operation::Compare(_)) {
        return Ok(());
    }
    first_derivatives(device, tolerances, case, [Layout::Contiguous; 2], &[case.all()])
}

/// What takes more care in f32 than a library of products, or the plainest formula, gives: long sums of products, and the weights 1 − β of an optimiser's first
/// steps.
///
/// # Errors
/// The first difference.
pub fn exacting<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    first_steps(device, tolerances)?;
    tables::long_products().iter().try_for_each(|case| sized(device, tolerances, case))
}

fn value<D: Device>(device: &D, tolerances: &Tolerances, case: &Case, layouts: &[Layout]) -> Check {
    let judge = judge(tolerances);
    for &layout in layouts {
        let expected = case.build(&judge, layout).and_then(|inputs| case.run(&inputs)).map_err(judge_failed)?;
        let actual = case.build(device, layout).and_then(|inputs| case.run(&inputs));
        let place = || format!("{} ({layout:?})", case.name());
        tolerances.agree(&expected, &actual.within(place)?).within(place)?;
    }
    Ok(())
}
