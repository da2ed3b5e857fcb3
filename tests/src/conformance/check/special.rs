//! Special values, element by element: NaN, infinities, signed zeros, numbers near the ends of the range.

use super::host::same_bits;
use super::{judge, judge_failed};
use crate::conformance::case::shape;
use crate::conformance::failure::{Check, Within};
use crate::conformance::operation::{BINARIES, COMPARES, Operation, UNARIES};
use crate::conformance::reference::Reference;
use crate::conformance::tolerances::Tolerances;
use mfm_core::tensor::Unary;
use mfm_core::{Device, Shape, Tensor};

pub(super) const INF: f64 = f64::INFINITY;
pub(super) const NAN: f64 = f64::NAN;
/// 2¹⁰⁰: its square is out of range in f32.
pub(super) const HUGE: f64 = 1.267_650_600_228_229_4e30;
/// 2⁻¹⁰⁰.
const TINY: f64 = 1.0 / HUGE;

/// Where functions overflow, vanish or are undefined.
pub(super) const SPECIALS: [f64; 18] =
    [0.0, -0.0, 1.0, -1.0, 0.5, -20.0, 100.0, -100.0, 1000.0, -1000.0, HUGE, -HUGE, TINY, -TINY, INF, -INF, NAN, 20.0];

/// Elements enough for every special value to be met several times in whole vectors, of up to 64, and in the rest after them.
const LINE: usize = 5 * SPECIALS.len() + 1;

/// One operand: host values in row-major order.
pub(super) type Operand<'a> = (&'a [f64], Shape);

/// `values` again and again from the one at `first` on.
pub(super) fn cycled(values: &[f64], first: usize, length: usize) -> Vec<f64> {
    values.iter().copied().cycle().skip(first).take(length).collect()
}

/// An operation of host values, on the judge's device and on another.
fn both<D: Device>(
    device: &D,
    tolerances: &Tolerances,
    operation: &Operation,
    inputs: &[Operand<'_>],
) -> Result<(Reference, D::Tensor), crate::conformance::Failure> {
    let judge = judge(tolerances);
    let exact = inputs.iter().map(|(values, shape)| judge.from_slice(values, *shape)).collect::<Result<Vec<_>, _>>();
    let exact = exact.map_err(judge_failed)?;
    let own = inputs.iter().map(|(values, shape)| device.from_slice(values, *shape)).collect::<Result<Vec<_>, _>>()?;
    let expected = operation.apply(&exact.iter().collect::<Vec<_>>()).map_err(judge_failed)?;
    Ok((expected, operation.apply(&own.iter().collect::<Vec<_>>())?))
}

/// The operation and the shapes, in a few words: the values may be many.
fn name(operation: &Operation, inputs: &[Operand<'_>]) -> String {
    let shapes: Vec<String> = inputs.iter().map(|(_, shape)| shape.to_string()).collect();
    format!("{} of special values, {}", operation.name(), shapes.join(" and "))
}

/// The operation of host values, on the device as on the judge's.
pub(super) fn agree<D: Device>(device: &D, tolerances: &Tolerances, operation: &Operation, inputs: &[Operand<'_>]) -> Check {
    let place = || name(operation, inputs);
    let (expected, actual) = both(device, tolerances, operation, inputs).within(place)?;
    let element_wise = matches!(operation, Operation::Unary(_) | Operation::Binary(_) | Operation::Compare(_) | Operation::Select);
    let words = |i| {
        let at = |(values, own): &Operand<'_>| {
            let stretched = judge(tolerances).from_slice(values, *own).and_then(|x| x.broadcast(expected.shape()));
            stretched.map_or_else(|error| error.to_string(), |x| format!("{:e}", x.values()[i]))
        };
        let operands: Vec<String> = inputs.iter().filter(|_| element_wise).map(at).collect();
        if element_wise { format!(", of {},", operands.join(" and ")) } else { String::new() }
    };
    tolerances.agree_at(&expected, &actual, words).within(place)
}

/// The same bit for bit: for what moves numbers, or their signs.
fn agree_exactly<D: Device>(device: &D, tolerances: &Tolerances, operation: &Operation, inputs: &[Operand<'_>]) -> Check {
    let place = || name(operation, inputs);
    let (expected, actual) = both(device, tolerances, operation, inputs).within(place)?;
    same_bits(&expected.values(), &actual.to_vec::<f64>().within(place)?).within(place)
}

/// Every unary function of every special value, with every kind of constant; a sign is a bit, of zero too.
///
/// # Errors
/// The first difference.
pub fn special_unary<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let line = (&cycled(&SPECIALS, 0, LINE)[..], shape(&[LINE]));
    let constants = [0.0, -0.0, INF, -INF, NAN].into_iter().flat_map(|c| [Unary::Scale(c), Unary::Shift(c)]);
    for op in UNARIES.into_iter().chain(constants) {
        agree(device, tolerances, &Operation::Unary(op), &[line])?;
    }
    // A constant out of range is ∞ or 0 on some devices, and a number on others: of these they give the same.
    let ordinary = [1.0, -1.0, 0.5, -20.0, 1000.0, HUGE, -HUGE, NAN];
    for c in [1e300, -1e300, 1e-300] {
        for op in [Unary::Scale(c), Unary::Shift(c)] {
            agree(device, tolerances, &Operation::Unary(op), &[(&ordinary, shape(&[8]))])?;
        }
    }
    [Unary::Neg, Unary::Abs].into_iter().try_for_each(|op| agree_exactly(device, tolerances, &Operation::Unary(op), &[line]))
}

/// Every pair of special values: of one shape, and stretched against one another.
fn pairs<D: Device>(device: &D, tolerances: &Tolerances, operation: &Operation) -> Check {
    let n = SPECIALS.len();
    let length = n * n + 3;
    let slow: Vec<f64> = (0..length).map(|i| SPECIALS[i / n % n]).collect();
    let line = shape(&[length]);
    agree(device, tolerances, operation, &[(&slow, line), (&cycled(&SPECIALS, 0, length), line)])?;
    agree(device, tolerances, operation, &[(&SPECIALS, shape(&[n, 1])), (&SPECIALS, shape(&[n]))])
}

/// Every binary function of every pair of special values.
///
/// # Errors
/// The first difference.
pub fn special_binary<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    BINARIES.into_iter().try_for_each(|op| pairs(device, tolerances, &Operation::Binary(op)))
}

/// Every comparison of every pair of special values, and of numbers next to one another.
///
/// # Errors
/// The first difference.
pub fn special_compare<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    // A device that does not tell two of them apart is not asked about them.
    let near = [1.0, 1.0f32.next_up(), -1.0, (-1.0f32).next_up()].map(f64::from);
    for operation in COMPARES.map(Operation::Compare) {
        pairs(device, tolerances, &operation)?;
        agree(device, tolerances, &operation, &[(&near, shape(&[4, 1])), (&near, shape(&[4]))])?;
    }
    Ok(())
}

/// Masks that are neither 0 nor 1, one for all or one for each, and branches that must not leak; what is chosen is unchanged.
///
/// # Errors
/// The first difference.
pub fn special_select<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let n = SPECIALS.len();
    let (yes, no) = ((&SPECIALS[..], shape(&[n, 1])), (&SPECIALS[..], shape(&[1, n])));
    for mask in SPECIALS {
        agree_exactly(device, tolerances, &Operation::Select, &[(&[mask], Shape::SCALAR), yes, no]).within(|| format!("mask {mask:e}"))?;
    }
    agree(device, tolerances, &Operation::Select, &[(&SPECIALS, shape(&[n, 1, 1])), yes, no])?;
    let lines = [0, 5, 11].map(|first| cycled(&SPECIALS, first, LINE));
    let lines: Vec<Operand<'_>> = lines.iter().map(|values| (&values[..], shape(&[LINE]))).collect();
    agree(device, tolerances, &Operation::Select, &lines)?;
    agree_exactly(device, tolerances, &Operation::Select, &lines)
}
