//! What moves numbers leaves them as they are.

use super::host::same_bits;
use super::special::{SPECIALS, cycled};
use super::{judge, judge_failed};
use crate::conformance::case::Case;
use crate::conformance::failure::{Check, Within};
use crate::conformance::input::{Layout, place};
use crate::conformance::tables::Group;
use crate::conformance::tolerances::Tolerances;
use mfm_core::{Device, Result, Tensor};

/// The groups that move numbers, and the scatter, which adds those that meet.
const MOVES: [Group; 9] = [
    Group::Broadcast,
    Group::Reshape,
    Group::Permute,
    Group::Slice,
    Group::Split,
    Group::Concat,
    Group::Detach,
    Group::Gather,
    Group::ScatterAdd,
];

/// Every case of every operation that moves numbers, on special values: NaN, ∞ and the sign of zero arrive where they belong, bit for bit, and nowhere
/// else. Where a scatter adds, a zero may have either sign.
///
/// # Errors
/// The first difference.
pub fn special_movement<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let cases = MOVES.into_iter().flat_map(|group| group.cases().into_iter().map(move |case| (group, case)));
    for (k, (group, case)) in cases.enumerate() {
        for layout in [Layout::Contiguous, Layout::SlicedRows] {
            let place = || format!("{} ({layout:?}), special values", case.name());
            let judge = judge(tolerances);
            let expected = build(&judge, &case, layout, k).and_then(|inputs| case.run(&inputs)).map_err(judge_failed)?;
            let actual = build(device, &case, layout, k).and_then(|inputs| case.run(&inputs)).within(place)?;
            if group == Group::ScatterAdd {
                tolerances.agree(&expected, &actual).within(place)?;
            } else {
                same_bits(&expected.values(), &actual.to_vec::<f64>().within(place)?).within(place)?;
            }
        }
    }
    Ok(())
}

/// The operands of a case: special values, beginning with another one for each case, so that small ones have them all between them.
fn build<D: Device>(device: &D, case: &Case, layout: Layout, k: usize) -> Result<Vec<D::Tensor>> {
    let of = |(i, input): (usize, &crate::conformance::input::Input)| {
        place(device, &cycled(&SPECIALS, (5 * k + 7 * i) % SPECIALS.len(), input.shape.elements()), input.shape, layout)
    };
    case.inputs.iter().enumerate().map(of).collect()
}
