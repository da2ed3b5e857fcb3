//! Special values in hooks: what each face makes of them, in every operand, tangent and cotangent.

use super::derivatives::COTANGENT;
use super::runs::{forward, reverse};
use super::special::{HUGE, INF, NAN, Operand, agree, cycled};
use super::special_lines::{LENGTH, plain, spiked};
use super::{judge, judge_failed};
use crate::conformance::case::{Case, shape};
use crate::conformance::failure::{Check, Within};
use crate::conformance::input::{Domain, Input};
use crate::conformance::operation::{ACTIVATIONS, Operation};
use crate::conformance::tolerances::Tolerances;
use mfm_core::tensor::{Activation, Fused};
use mfm_core::{Device, Result, Shape};

/// Scores at which a careless softmax overflows, or finds nothing to share.
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

/// Where activations are flat.
const SATURATED: [f64; 9] = [1000.0, -1000.0, 100.0, -100.0, 20.0, -20.0, 0.0, -0.0, NAN];

/// Hooks where a careless kernel overflows: large scores, masked entries, saturated activations, rows without variance, in values and derivatives; and NaN in
/// any place of any operand, tangent or cotangent.
///
/// # Errors
/// The first difference.
pub fn special_hooks<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let value = |op, inputs: &[Operand<'_>]| agree(device, tolerances, &Operation::Fused(op), inputs);
    let hook = |op, inputs: &[Operand<'_>]| faces(device, tolerances, op, inputs);
    let square = shape(&[LENGTH, LENGTH]);
    for axis in [0, 1] {
        for op in [Fused::Softmax { axis }, Fused::LogMeanExp { axis }] {
            value(op, &[(SCORES.as_flattened(), shape(&[8, 4]))])?;
            value(op, &[(&spiked(INF, square), square)])?;
            hook(op, &[(&spiked(-INF, square), square)])?;
        }
        // A line of −∞ alone, or with NaN, has a derivative of NaN, or none.
        let finite = [0, 1, 6, 7].map(|line| SCORES[line]);
        hook(Fused::Softmax { axis }, &[(finite.as_flattened(), shape(&[4, 4]))])?;
        hook(Fused::LogMeanExp { axis }, &[(finite.as_flattened(), shape(&[4, 4]))])?;
    }
    for activation in ACTIVATIONS {
        hook(Fused::Activate { activation }, &[(&cycled(&SATURATED, 0, LENGTH), shape(&[LENGTH]))])?;
        let (weight, bias) = ((&[0.0, 1.0][..], shape(&[2, 1])), (&[0.0, -1000.0][..], shape(&[2])));
        hook(Fused::Linear { activation }, &[(&SATURATED, shape(&[9, 1])), weight, bias])?;
        hook(
            Fused::Layers { between: activation, last: activation },
            &[(&SATURATED, shape(&[9, 1])), weight, bias, weight_of_two(), bias],
        )?;
    }
    let rows: [f64; 12] = [0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0, 1.0, NAN, 2.0, 3.0];
    let one: Operand<'_> = (&[1.0], Shape::SCALAR);
    hook(Fused::LayerNorm { epsilon: 1e-5 }, &[(&rows, shape(&[3, 4])), one, one])?;
    let query: Operand<'_> = (&[1000.0, -1000.0, 1.0, 0.0], shape(&[2, 2]));
    let keys: Operand<'_> = (&[1000.0, 0.0, 0.0, 1000.0, -1000.0, 1.0], shape(&[3, 2]));
    let values: Operand<'_> = (&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], shape(&[3, 2]));
    hook(Fused::Attention, &[query, keys, values])?;
    // Keys of −∞ that mask some entries of one query, all of another, and give +∞ to a third.
    let masks: Operand<'_> = (&[-INF, 1.0, -INF, -INF, 0.5, 1.0], shape(&[3, 2]));
    let queries: Operand<'_> = (&[1.0, 2.0, 1.0, -1.0, -0.5, 1.0], shape(&[3, 2]));
    value(Fused::Attention, &[queries, masks, values])?;
    value(Fused::Attention, &[queries, (&[-INF; 6], shape(&[3, 2])), values])?;
    let mixed = [0.0, -0.0, 1.0, INF, -1.0, -INF, 0.5, NAN, 20.0];
    let lines = [0, 2, 7].map(|first| cycled(&mixed, first, LENGTH));
    let lines = lines.each_ref().map(|values| (&values[..], shape(&[LENGTH])));
    value(Fused::LinearCombination { factors: [0.0, -2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0] }, &lines)?;
    value(Fused::GatedResidual, &lines)?;
    nan_anywhere(device, tolerances)
}

/// A second layer, of one output from two.
fn weight_of_two() -> Operand<'static> {
    (&[1.0, -0.5, 0.0, 2.0], shape(&[2, 2]))
}

/// Every hook with NaN in each of its operands in turn, in another place of each row or list of it; then in its tangents and its cotangent.
fn nan_anywhere<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    const L: usize = LENGTH;
    let (activation, factors) = (Activation::Silu, [0.0, -2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let layers = Fused::Layers { between: Activation::Tanh, last: activation };
    let lists: [&[usize]; 3] = [&[L, 3, 2], &[L, L, 2], &[L, L, 2]];
    let hooks: [(Fused, &[&[usize]]); 13] = [
        (Fused::Linear { activation }, &[&[L, L], &[3, L], &[3]]),
        (Fused::Linear { activation }, &[&[3, L], &[L, L], &[L]]),
        (layers, &[&[L, L], &[17, L], &[17], &[3, 17], &[3]]),
        (layers, &[&[3, L], &[17, L], &[17], &[3, 17], &[3]]),
        (Fused::Activate { activation }, &[&[L, L]]),
        (Fused::LinearCombination { factors }, &[&[L, L], &[L], &[L, L]]),
        (Fused::Softmax { axis: 0 }, &[&[L, L]]),
        (Fused::Softmax { axis: 1 }, &[&[L, L]]),
        (Fused::LogMeanExp { axis: 1 }, &[&[L, L]]),
        (Fused::LayerNorm { epsilon: 1e-3 }, &[&[L, L], &[L], &[L]]),
        (Fused::Attention, &lists),
        (Fused::GatedResidual, &[&[L, L], &[L], &[L, L]]),
        (Fused::SquareNorm, &[&[L, L]]),
    ];
    for (op, shapes) in hooks {
        let ordinary: Vec<Vec<f64>> = shapes.iter().map(|axes| plain(shape(axes).elements())).collect();
        for spike in 0..shapes.len() {
            let mut values = ordinary.clone();
            values[spike] = spiked(NAN, shape(shapes[spike]));
            let inputs: Vec<Operand<'_>> = values.iter().zip(shapes).map(|(values, axes)| (&values[..], shape(axes))).collect();
            faces(device, tolerances, op, &inputs).within(|| format!("NaN in operand {spike}"))?;
        }
        let inputs: Vec<Operand<'_>> = ordinary.iter().zip(shapes).map(|(values, axes)| (&values[..], shape(axes))).collect();
        derivatives_agree(device, tolerances, op, &inputs, true).within(|| "NaN in tangents and cotangent")?;
    }
    Ok(())
}

/// A hook of host values as the judge has it, in value and derivatives.
fn faces<D: Device>(device: &D, tolerances: &Tolerances, op: Fused, inputs: &[Operand<'_>]) -> Check {
    agree(device, tolerances, &Operation::Fused(op), inputs)?;
    derivatives_agree(device, tolerances, op, inputs, false)
}

fn derivatives_agree<D: Device>(device: &D, tolerances: &Tolerances, op: Fused, inputs: &[Operand<'_>], is_spiked: bool) -> Check {
    let operands = inputs.iter().map(|(_, shape)| Input::new(*shape, Domain::Small)).collect();
    let case = Case { operation: Operation::Fused(op), inputs: operands };
    let expected = derivatives(&judge(tolerances), &case, inputs, is_spiked).map_err(judge_failed)?;
    let actual = derivatives(device, &case, inputs, is_spiked).within(|| case.name())?;
    let names = ["the value with jvp", "jvp", "the value with vjp"].map(str::to_owned).into_iter();
    let names = names.chain((0..inputs.len()).map(|i| format!("vjp by operand {i}")));
    for ((expected, actual), name) in expected.iter().zip(&actual).zip(names) {
        tolerances.agree(expected, actual).within(|| name).within(|| format!("{} at special values", case.name()))?;
    }
    Ok(())
}

/// Value and tangent, value and gradients; of tangents and a cotangent of small numbers, or with NaN in them.
fn derivatives<D: Device>(device: &D, case: &Case, inputs: &[Operand<'_>], is_spiked: bool) -> Result<Vec<D::Tensor>> {
    let x = inputs.iter().map(|(values, shape)| device.from_slice(values, *shape)).collect::<Result<Vec<_>>>()?;
    let moving = |shape: Shape, seed| {
        let values = if is_spiked { spiked(NAN, shape) } else { Input::new(shape, Domain::Small).values(seed) };
        device.from_slice(&values, shape)
    };
    let v = inputs.iter().zip(101..).map(|((_, shape), seed)| moving(*shape, seed)).collect::<Result<Vec<_>>>()?;
    let all = vec![true; inputs.len()];
    let (value, tangent) = forward(case, &x, &v, &all)?;
    let w = moving(mfm_core::Tensor::shape(&value), COTANGENT)?;
    let (again, gradients) = reverse(case, &x, &w, &all)?;
    Ok([value, tangent, again].into_iter().chain(gradients).collect())
}
