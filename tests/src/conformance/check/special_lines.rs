//! Special values in lines: what sums, maxima and products make of one among ordinary numbers, wherever it stands.

use super::special::{HUGE, INF, NAN, Operand, agree, cycled};
use crate::conformance::case::shape;
use crate::conformance::failure::Check;
use crate::conformance::operation::{Operation, TRANSPOSES};
use crate::conformance::tolerances::Tolerances;
use mfm_core::tensor::Reduce;
use mfm_core::{Device, Shape};

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

/// The length of lines: whole vectors of up to 64, and a rest.
pub(super) const LENGTH: usize = 67;
/// That of lines of which more than one thread or block takes a part, with a rest.
const LONG: usize = 1283;

/// Small numbers with zeros among them.
pub(super) fn plain(length: usize) -> Vec<f64> {
    cycled(&[0.5, -1.0, 0.0, 2.0, -0.25, 1.5, 0.0], 0, length)
}

/// Small numbers, with `special` in another place of each item: of a square in every place, along either axis.
pub(super) fn spiked(special: f64, shape: Shape) -> Vec<f64> {
    let mut values = plain(shape.elements());
    let item = if shape.rank() < 2 { shape.elements() } else { shape.item() };
    // 37 has no divisor in common with 67 or 134.
    (1..).zip(values.chunks_exact_mut(item.max(1))).for_each(|(k, item)| item[k * 37 % item.len()] = special);
    values
}

/// Sums and maxima of lines with special values, along either axis.
///
/// # Errors
/// The first difference.
pub fn special_reduce<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let across: Vec<f64> = (0..4).flat_map(|column| LINES.map(|line| line[column])).collect();
    for op in [Reduce::Sum, Reduce::Max] {
        agree(device, tolerances, &Operation::Reduce(op, 1), &[(LINES.as_flattened(), shape(&[LINES.len(), 4]))])?;
        agree(device, tolerances, &Operation::Reduce(op, 0), &[(&across, shape(&[4, LINES.len()]))])?;
        for special in [NAN, INF, -INF] {
            let square = shape(&[LENGTH, LENGTH]);
            for axis in [0, 1] {
                agree(device, tolerances, &Operation::Reduce(op, axis), &[(&spiked(special, square), square)])?;
            }
            long(device, tolerances, op, special)?;
        }
    }
    Ok(())
}

/// Reductions of long lines with one special value each, at the ends, in the middle, and where blocks meet.
fn long<D: Device>(device: &D, tolerances: &Tolerances, op: Reduce, special: f64) -> Check {
    const PLACES: [usize; 6] = [0, 300, 1023, 1024, LONG - 4, LONG - 1];
    let small = plain(LONG);
    let at = |row: usize, k: usize| if k == PLACES[row] { special } else { small[k] };
    let rows: Vec<f64> = (0..PLACES.len()).flat_map(|row| (0..LONG).map(move |k| (row, k))).map(|(row, k)| at(row, k)).collect();
    let columns: Vec<f64> = (0..LONG).flat_map(|k| (0..PLACES.len()).map(move |row| (row, k))).map(|(row, k)| at(row, k)).collect();
    agree(device, tolerances, &Operation::Reduce(op, 1), &[(&rows, shape(&[PLACES.len(), LONG]))])?;
    agree(device, tolerances, &Operation::Reduce(op, 0), &[(&columns, shape(&[LONG, PLACES.len()]))])
}

/// Products of a matrix that has NaN or ∞ in every row and column with one of small numbers, or a vector of them, of which some are zero: 0 · NaN is NaN.
///
/// # Errors
/// The first difference.
pub fn special_matmul<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let matrix = shape(&[LENGTH, LENGTH]);
    for (special, few) in [NAN, INF].into_iter().flat_map(|special| [(special, 5), (special, 1)]) {
        let (square, small) = (spiked(special, matrix), plain(few * LENGTH));
        let square: Operand<'_> = (&square, matrix);
        for transpose in TRANSPOSES {
            let tall = if transpose.right { [few, LENGTH] } else { [LENGTH, few] };
            agree(device, tolerances, &Operation::MatMul(transpose), &[square, (&small, shape(&tall))])?;
            let wide = if transpose.left { [LENGTH, few] } else { [few, LENGTH] };
            agree(device, tolerances, &Operation::MatMul(transpose), &[(&small, shape(&wide)), square])?;
        }
    }
    Ok(())
}
