//! Special values: NaN, infinities, signed zeros, numbers near the ends of the range.

use super::{judge, judge_failed};
use crate::conformance::case::shape;
use crate::conformance::failure::{Check, Within};
use crate::conformance::operation::{ACTIVATIONS, BINARIES, COMPARES, Operation, UNARIES};
use crate::conformance::tolerances::Tolerances;
use mfm_core::tensor::{Fused, Reduce};
use mfm_core::{Device, Shape};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;
/// 2¹⁰⁰: its square is out of range in f32.
const HUGE: f64 = 1.267_650_600_228_229_4e30;
/// 2⁻¹⁰⁰.
const TINY: f64 = 1.0 / HUGE;

/// Where functions overflow, vanish or are undefined.
const SPECIALS: [f64; 18] =
    [0.0, -0.0, 1.0, -1.0, 0.5, -20.0, 100.0, -100.0, 1000.0, -1000.0, HUGE, -HUGE, TINY, -TINY, INF, -INF, NAN, 20.0];

/// One tensor of host values in each place, on the device and on the judge's.
fn agree<D: Device>(device: &D, tolerances: &Tolerances, operation: &Operation, inputs: &[(&[f64], Shape)]) -> Check {
    let place = || format!("{operation:?} of {inputs:?}");
    let judge = judge(tolerances);
    let exact = inputs.iter().map(|(values, shape)| judge.from_slice(values, *shape)).collect::<Result<Vec<_>, _>>();
    let exact = exact.map_err(judge_failed)?;
    let own = inputs.iter().map(|(values, shape)| device.from_slice(values, *shape)).collect::<Result<Vec<_>, _>>().within(place)?;
    let expected = operation.apply(&exact.iter().collect::<Vec<_>>()).map_err(judge_failed)?;
    let actual = operation.apply(&own.iter().collect::<Vec<_>>()).within(place)?;
    tolerances.agree(&expected, &actual).within(place)
}

/// Every unary function of every special value.
///
/// # Errors
/// The first difference.
pub fn special_unary<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let line = shape(&[SPECIALS.len()]);
    UNARIES.into_iter().try_for_each(|op| agree(device, tolerances, &Operation::Unary(op), &[(&SPECIALS, line)]))
}

/// Every pair of special values.
fn pairs<D: Device>(device: &D, tolerances: &Tolerances, operation: &Operation) -> Check {
    let n = SPECIALS.len();
    agree(device, tolerances, operation, &[(&SPECIALS, shape(&[n, 1])), (&SPECIALS, shape(&[n]))])
}

/// Every binary function of every pair of special values.
///
/// # Errors
/// The first difference.
pub fn special_binary<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    BINARIES.into_iter().try_for_each(|op| pairs(device, tolerances, &Operation::Binary(op)))
}

/// Every comparison of every pair of special values.
///
/// # Errors
/// The first difference.
pub fn special_compare<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    COMPARES.into_iter().try_for_each(|op| pairs(device, tolerances, &Operation::Compare(op)))
}

/// Masks that are neither 0 nor 1, and branches that must not leak.
///
/// # Errors
/// The first difference.
pub fn special_select<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let n = SPECIALS.len();
    let branches = (shape(&[n, 1]), shape(&[1, n]));
    for mask in SPECIALS {
        agree(device, tolerances, &Operation::Select, &[(&[mask], Shape::SCALAR), (&SPECIALS, branches.0), (&SPECIALS, branches.1)])?;
    }
    Ok(())
}

/// Lines with every mixture of special values.
const LINES: [[f64; 4]; 12] = [
    [1.0, NAN, 2.0, 3.0],
    [NAN, 1.0, 2.0, 3.0],
    [1.0, 2.0, 3.0, NAN],
    [NAN, NAN, NAN, NAN],
    [INF, 1.0, 2.0, 3.0],
    [-INF, 1.0, 2.0, 3.0],
    [-INF, -INF, -INF, -INF],
    [INF, -INF, 0.0, 1.0],
    [INF, NAN, -INF, 1.0],
    [HUGE, HUGE, -HUGE, 1.0],
    [-0.0, 0.0, -0.0, -0.0],
    [-HUGE, -1000.0, -HUGE, -1000.0],
];

/// Sums and maxima of lines with special values, along either axis.
///
/// # Errors
/// The first difference.
pub fn special_reduce<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let across: Vec<f64> = (0..4).flat_map(|column| LINES.map(|line| line[column])).collect();
    for op in [Reduce::Sum, Reduce::Max] {
        agree(device, tolerances, &Operation::Reduce(op, 1), &[(LINES.as_flattened(), shape(&[LINES.len(), 4]))])?;
        agree(device, tolerances, &Operation::Reduce(op, 0), &[(&across, shape(&[4, LINES.len()]))])?;
    }
    Ok(())
}

/// Hooks where a careless kernel overflows: large scores, masked entries, saturated activations, rows without variance.
///
/// # Errors
/// The first difference.
pub fn special_hooks<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    const SCORES: [[f64; 4]; 8] = [
        [1000.0, 1000.0, 992.0, -1000.0],
        [-1000.0, -1000.0, -992.0, -1000.0],
        [-INF, 1.0, 2.0, -INF],
        [-INF, -INF, -INF, 0.0],
        [-INF, -INF, -INF, -INF],
        [1.0, NAN, 2.0, 3.0],
        [HUGE, 0.0, 0.0, -HUGE],
        [0.0, -0.0, 0.0, 0.0],
    ];
    let scores = (SCORES.as_flattened(), shape(&[8, 4]));
    for op in [Fused::Softmax { axis: 1 }, Fused::Softmax { axis: 0 }, Fused::LogMeanExp { axis: 1 }, Fused::LogMeanExp { axis: 0 }] {
        agree(device, tolerances, &Operation::Fused(op), &[scores])?;
    }
    const SATURATED: [f64; 9] = [1000.0, -1000.0, 100.0, -100.0, 20.0, -20.0, 0.0, -0.0, NAN];
    for activation in ACTIVATIONS {
        agree(device, tolerances, &Operation::Fused(Fused::Activate { activation }), &[(&SATURATED, shape(&[9]))])?;
        let (weight, bias) = ((&[0.0, 1.0][..], shape(&[2, 1])), (&[0.0, -1000.0][..], shape(&[2])));
        agree(device, tolerances, &Operation::Fused(Fused::Linear { activation }), &[(&SATURATED, shape(&[9, 1])), weight, bias])?;
    }
    let rows: [f64; 12] = [0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0, 1.0, NAN, 2.0, 3.0];
    let one: (&[f64], Shape) = (&[1.0], Shape::SCALAR);
    agree(device, tolerances, &Operation::Fused(Fused::LayerNorm { epsilon: 1e-5 }), &[(&rows, shape(&[3, 4])), one, one])?;
    let query: (&[f64], Shape) = (&[1000.0, -1000.0, 1.0, 0.0], shape(&[2, 2]));
    let keys: (&[f64], Shape) = (&[1000.0, 0.0, 0.0, 1000.0, -1000.0, 1.0], shape(&[3, 2]));
    let values: (&[f64], Shape) = (&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], shape(&[3, 2]));
    agree(device, tolerances, &Operation::Fused(Fused::Attention), &[query, keys, values])
}
