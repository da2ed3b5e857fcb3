//! Special values in lines: what sums, maxima, products and hooks make of one among ordinary numbers, wherever it stands.

use super::special::{HUGE, INF, NAN, Operand, agree, cycled};
use crate::conformance::case::shape;
use crate::conformance::failure::Check;
use crate::conformance::operation::{ACTIVATIONS, Operation, TRANSPOSES};
use crate::conformance::tolerances::Tolerances;
use mfm_core::tensor::{Activation, Fused, Reduce};
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
const LENGTH: usize = 67;

/// Small numbers with zeros among them.
fn plain(length: usize) -> Vec<f64> {
    cycled(&[0.5, -1.0, 0.0, 2.0, -0.25, 1.5, 0.0], 0, length)
}

/// `rows` lines of small numbers, each with `special` in a place of its own: square, in every place, along either axis.
fn spiked(special: f64, rows: usize) -> Vec<f64> {
    let mut values = plain(rows * LENGTH);
    // 37 and 67 have no common divisor.
    values.chunks_exact_mut(LENGTH).enumerate().for_each(|(row, line)| line[row * 37 % LENGTH] = special);
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
        for (special, axis) in [NAN, INF, -INF].into_iter().flat_map(|special| [(special, 0), (special, 1)]) {
            agree(device, tolerances, &Operation::Reduce(op, axis), &[(&spiked(special, LENGTH), shape(&[LENGTH, LENGTH]))])?;
        }
    }
    Ok(())
}

/// Products of a matrix that has NaN or ∞ in every row and column with one of small numbers, of which some are zero: 0 · NaN is NaN.
///
/// # Errors
/// The first difference.
pub fn special_matmul<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    const FEW: usize = 5;
    let few = plain(FEW * LENGTH);
    for special in [NAN, INF] {
        let square = spiked(special, LENGTH);
        let square: Operand<'_> = (&square, shape(&[LENGTH, LENGTH]));
        for transpose in TRANSPOSES {
            let tall = if transpose.right { [FEW, LENGTH] } else { [LENGTH, FEW] };
            agree(device, tolerances, &Operation::MatMul(transpose), &[square, (&few, shape(&tall))])?;
            let wide = if transpose.left { [LENGTH, FEW] } else { [FEW, LENGTH] };
            agree(device, tolerances, &Operation::MatMul(transpose), &[(&few, shape(&wide)), square])?;
        }
    }
    Ok(())
}

/// Hooks where a careless kernel overflows: large scores, masked entries, saturated activations, rows without variance; and NaN in any place.
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
    let hook = |op, inputs: &[Operand<'_>]| agree(device, tolerances, &Operation::Fused(op), inputs);
    let scores = (SCORES.as_flattened(), shape(&[8, 4]));
    let square = shape(&[LENGTH, LENGTH]);
    for op in [Fused::Softmax { axis: 1 }, Fused::Softmax { axis: 0 }, Fused::LogMeanExp { axis: 1 }, Fused::LogMeanExp { axis: 0 }] {
        hook(op, &[scores])?;
        hook(op, &[(&spiked(NAN, LENGTH), square)])?;
        hook(op, &[(&spiked(-INF, LENGTH), square)])?;
    }
    const SATURATED: [f64; 9] = [1000.0, -1000.0, 100.0, -100.0, 20.0, -20.0, 0.0, -0.0, NAN];
    for activation in ACTIVATIONS {
        hook(Fused::Activate { activation }, &[(&cycled(&SATURATED, 0, LENGTH), shape(&[LENGTH]))])?;
        let (weight, bias) = ((&[0.0, 1.0][..], shape(&[2, 1])), (&[0.0, -1000.0][..], shape(&[2])));
        hook(Fused::Linear { activation }, &[(&SATURATED, shape(&[9, 1])), weight, bias])?;
    }
    let rows: [f64; 12] = [0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0, 1.0, NAN, 2.0, 3.0];
    let one: Operand<'_> = (&[1.0], Shape::SCALAR);
    hook(Fused::LayerNorm { epsilon: 1e-5 }, &[(&rows, shape(&[3, 4])), one, one])?;
    let query: Operand<'_> = (&[1000.0, -1000.0, 1.0, 0.0], shape(&[2, 2]));
    let keys: Operand<'_> = (&[1000.0, 0.0, 0.0, 1000.0, -1000.0, 1.0], shape(&[3, 2]));
    let values: Operand<'_> = (&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], shape(&[3, 2]));
    hook(Fused::Attention, &[query, keys, values])?;
    hooks_of_nan(device, tolerances)
}

/// Hooks of several operands with NaN in any place of one of them.
fn hooks_of_nan<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let hook = |op, inputs: &[Operand<'_>]| agree(device, tolerances, &Operation::Fused(op), inputs);
    let (spikes, small) = (spiked(NAN, LENGTH), plain(LENGTH * LENGTH));
    let of = |values, axes: &[usize]| -> Operand<'_> {
        let shape = shape(axes);
        let values: &[f64] = values;
        (&values[..shape.elements()], shape)
    };
    let square = [LENGTH, LENGTH];
    let (activation, line) = (Activation::Silu, of(&small, &[LENGTH]));
    hook(Fused::Linear { activation }, &[of(&spikes, &square), of(&small, &[3, LENGTH]), of(&small, &[3])])?;
    hook(Fused::Linear { activation }, &[of(&small, &[3, LENGTH]), of(&spikes, &square), line])?;
    let layers = Fused::Layers { between: Activation::Tanh, last: activation };
    let (first, second) = ([of(&small, &[17, LENGTH]), of(&small, &[17])], [of(&small, &[3, 17]), of(&small, &[3])]);
    for rows in [3, LENGTH] {
        hook(layers, &[of(&spikes, &[rows, LENGTH]), first[0], first[1], second[0], second[1]])?;
    }
    hook(Fused::LayerNorm { epsilon: 1e-3 }, &[of(&spikes, &square), line, line])?;
    hook(Fused::SquareNorm, &[of(&spikes, &square)])?;
    // A batch of lists of keys, or values, with NaN in another place of each.
    let spread: Vec<f64> = spikes.iter().flat_map(|&number| [number, 0.5]).collect();
    let (queries, lists) = (of(&small, &[3, 2]), [LENGTH, LENGTH, 2]);
    hook(Fused::Attention, &[queries, of(&spread, &lists), of(&small, &[LENGTH, 2])])?;
    hook(Fused::Attention, &[queries, of(&small, &[LENGTH, 2]), of(&spread, &lists)])?;
    let mixed = [0.0, -0.0, 1.0, INF, -1.0, -INF, 0.5, NAN, 20.0];
    let lines = [0, 2, 7].map(|first| cycled(&mixed, first, LENGTH));
    let lines = lines.each_ref().map(|values| of(values, &[LENGTH]));
    hook(Fused::LinearCombination { factors: [0.0, -2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0] }, &lines)?;
    hook(Fused::GatedResidual, &lines)
}
