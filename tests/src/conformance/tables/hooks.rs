//! Cases of the fused hooks: odd sizes, and every way in which their operands broadcast.

use crate::conformance::case::{Case, shape};
use crate::conformance::input::{Domain, Input};
use crate::conformance::operation::{ACTIVATIONS, Operation};
use mfm_core::tensor::{Activation, Fused, MAX_TERMS};

/// Rows and columns around the sizes of vectors, warps and blocks.
const SIZES: [[usize; 2]; 19] = [
    [0, 3],
    [1, 1],
    [7, 1],
    [1, 2],
    [7, 2],
    [1, 3],
    [7, 3],
    [1000, 3],
    [1, 17],
    [7, 17],
    [1000, 17],
    [1, 255],
    [7, 255],
    [1, 256],
    [7, 256],
    [1, 257],
    [7, 257],
    [2, 1025],
    [1, 2051],
];

fn case(op: Fused, shapes: &[&[usize]]) -> Case {
    Case::new(Operation::Fused(op), Domain::Any, shapes)
}

fn fine(op: Fused, shapes: &[&[usize]]) -> Case {
    Case::new(Operation::Fused(op), Domain::Fine, shapes)
}

pub fn linear() -> Vec<Case> {
    let widths = [[3, 1], [1, 3], [17, 2], [2, 17], [255, 3], [3, 256], [257, 17], [16, 64]];
    let mut cases = Vec::new();
    for activation in ACTIVATIONS {
        let op = Fused::Linear { activation };
        let mut push = |x: &[usize], out: usize| {
            let inner = x.last().copied().unwrap_or(0);
            let with = |domain| Input::new(shape(&[out, inner]), domain);
            let x = Input::new(shape(x), Domain::Small);
            let weight = with(if inner > 32 { Domain::Small } else { Domain::Any });
            let bias = Input::new(shape(&[out]), Domain::Any);
            cases.push(Case { operation: Operation::Fused(op), inputs: vec![x, weight] });
            cases.push(Case { operation: Operation::Fused(op), inputs: vec![x, weight, bias] });
        };
        widths.iter().for_each(|&[inner, out]| push(&[7, inner], out));
        for (x, out) in
            [(&[3][..], 2), (&[0, 3], 2), (&[2, 0], 3), (&[2, 3], 0), (&[1, 17], 5), (&[1000, 3], 5), (&[2, 3, 4], 5), (&[2, 1, 3, 4], 5)]
        {
            push(x, out);
        }
        cases.push(fine(op, &[&[7, 17], &[5, 17], &[5]]));
    }
    cases
}

/// Layers of these widths for x, with the non-linearity between them and that after the last.
fn chain(x: &[usize], widths: &[usize], between: Activation, last: Activation) -> Case {
    let mut inner = x.last().copied().unwrap_or(0);
    let mut inputs = vec![Input::new(shape(x), Domain::Small)];
    for &out in widths {
        inputs.push(Input::new(shape(&[out, inner]), Domain::Small));
        inputs.push(Input::new(shape(&[out]), Domain::Small));
        inner = out;
    }
    Case { operation: Operation::Fused(Fused::Layers { between, last }), inputs }
}

pub fn layers() -> Vec<Case> {
    let mut cases = Vec::new();
    for activation in ACTIVATIONS {
        for (x, widths) in [
            (&[1, 3][..], &[17, 5][..]),
            (&[1, 55], &[64, 17, 2]),
            (&[7, 2], &[257]),
            (&[2, 3, 4], &[16, 1, 8]),
            (&[3], &[2, 3]),
            (&[0, 3], &[2, 2]),
            (&[2, 0], &[3, 4]),
            (&[300, 3], &[17, 2]),
            (&[3, 2], &[3, 2, 4, 2]),
            (&[7, 3], &[2, 3, 5, 2, 3]),
        ] {
            cases.push(chain(x, widths, activation, Activation::Identity));
            cases.push(chain(x, widths, Activation::Tanh, activation));
        }
    }
    cases.push(fine(Fused::Layers { between: Activation::Silu, last: Activation::Identity }, &[&[7, 5], &[6, 5], &[6], &[3, 6], &[3]]));
    // So much between the layers that a library of products is asked to do what lies there.
    cases.push(chain(&[512, 8], &[128, 16], Activation::Gelu, Activation::Identity));
    cases
}

pub fn activate() -> Vec<Case> {
    let shapes: [&[usize]; 6] = [&[], &[0], &[3], &[7, 257], &[2, 0, 3], &[2, 1, 3, 2, 1, 2]];
    let of = |activation| shapes.map(|axes| case(Fused::Activate { activation }, &[axes]));
    let fine = |activation| fine(Fused::Activate { activation }, &[&[67]]);
    ACTIVATIONS.into_iter().flat_map(of).chain(ACTIVATIONS.map(fine)).collect()
}

pub fn linear_combination() -> Vec<Case> {
    let factors = [1.0, -0.5, 0.3, 0.0, 2.0, -1.0, 1e-3, 7.0];
    let lists: [&[&[usize]]; 11] = [
        &[&[]],
        &[&[7, 3]],
        &[&[257], &[257]],
        &[&[2, 3], &[2, 3], &[2, 3]],
        &[&[2, 1], &[1, 3]],
        &[&[], &[2, 3], &[3]],
        &[&[2, 3], &[], &[1, 1]],
        &[&[0, 3], &[1, 3]],
        &[&[7usize, 17] as &[usize]; 4],
        &[&[5usize, 2] as &[usize]; MAX_TERMS],
        &[&[4, 1, 1], &[1, 3, 1], &[1, 1, 2], &[4, 3, 2], &[2]],
    ];
    // What stands beyond the factors in use is not read.
    let used = |n: usize| std::array::from_fn(|i| if i < n { factors[i] } else { f64::NAN });
    let op = |n| Fused::LinearCombination { factors: used(n) };
    let fine = fine(op(3), &[&[7, 17], &[17], &[7, 17]]);
    lists.into_iter().map(|shapes| case(op(shapes.len()), shapes)).chain([fine]).collect()
}

/// Along every axis of shapes that are long in one of them.
fn along_axes(op: impl Fn(usize) -> Fused) -> Vec<Case> {
    let shapes: [&[usize]; 8] = [&[5], &[0], &[3, 0], &[0, 3], &[257, 3], &[4, 17, 3], &[2, 1, 5, 2], &[2, 1, 3, 2, 1, 2]];
    let rows = SIZES.iter().map(|size| case(op(1), &[size]));
    let fine = fine(op(1), &[&[3, 17]]);
    rows.chain(shapes.iter().flat_map(|axes| (0..axes.len()).map(|axis| case(op(axis), &[axes])))).chain([fine]).collect()
}

pub fn softmax() -> Vec<Case> {
    along_axes(|axis| Fused::Softmax { axis })
}

pub fn log_mean_exp() -> Vec<Case> {
    let mut cases = along_axes(|axis| Fused::LogMeanExp { axis });
    // The mean over nothing is NaN, which has no derivative to compare.
    cases.retain(|case| !matches!(case.operation, Operation::Fused(Fused::LogMeanExp { axis }) if case.inputs[0].shape.axes()[axis] == 0));
    cases
}

pub fn layer_norm() -> Vec<Case> {
    let op = Fused::LayerNorm { epsilon: 1e-3 };
    let modulated: [[&[usize]; 3]; 9] = [
        [&[5], &[5], &[5]],
        [&[7, 17], &[], &[]],
        [&[7, 17], &[7, 17], &[7, 17]],
        [&[7, 17], &[7, 1], &[17]],
        [&[2, 5, 17], &[2, 1, 17], &[2, 1, 17]],
        [&[2, 5, 3], &[1, 1, 3], &[5, 1]],
        [&[3, 4], &[2, 3, 4], &[4]],
        [&[1, 4], &[1, 4], &[3, 4]],
        [&[2, 0, 3], &[3], &[3]],
    ];
    let rows = SIZES.iter().map(|[rows, columns]| case(op, &[&[*rows, *columns], &[*columns], &[*columns]]));
    let fine = fine(op, &[&[3, 17], &[17], &[17]]);
    rows.chain(modulated.iter().map(|shapes| case(op, shapes))).chain([fine]).collect()
}

pub fn attention() -> Vec<Case> {
    let shapes: [[&[usize]; 3]; 18] = [
        [&[1, 1], &[1, 1], &[1, 1]],
        [&[3, 2], &[2, 4, 2], &[2, 4, 2]],
        [&[3, 2], &[3, 2], &[3, 2]],
        [&[3, 2], &[5, 2], &[5, 2]],
        [&[3, 4], &[5, 4], &[5, 7]],
        [&[17, 3], &[17, 3], &[17, 3]],
        [&[2, 3, 16], &[2, 3, 16], &[2, 3, 16]],
        [&[1, 64], &[65, 64], &[65, 64]],
        [&[33, 17], &[31, 17], &[31, 17]],
        [&[2, 33, 8], &[2, 33, 8], &[2, 33, 8]],
        [&[4, 3, 7, 3], &[4, 3, 7, 3], &[4, 3, 7, 3]],
        [&[2, 1, 3, 2], &[1, 2, 4, 2], &[4, 2]],
        [&[0, 3, 2], &[0, 3, 2], &[0, 3, 2]],
        [&[0, 2], &[3, 2], &[3, 2]],
        [&[3, 2], &[0, 2], &[0, 2]],
        [&[3, 0], &[5, 0], &[5, 4]],
        [&[1, 2, 1, 2, 3, 2], &[2, 1, 1, 2, 2, 2], &[1, 1, 2, 2, 2, 2]],
        [&[2, 1, 2], &[2, 1, 2], &[2, 1, 2]],
    ];
    let fine = fine(Fused::Attention, &[&[2, 5, 4], &[2, 9, 4], &[2, 9, 3]]);
    shapes.into_iter().map(|shapes| case(Fused::Attention, &shapes)).chain([fine]).collect()
}

pub fn gated_residual() -> Vec<Case> {
    let shapes: [[&[usize]; 3]; 10] = [
        [&[], &[], &[]],
        [&[7, 3], &[7, 3], &[7, 3]],
        [&[7, 257], &[257], &[7, 257]],
        [&[7, 257], &[7, 1], &[7, 257]],
        [&[2, 5, 17], &[2, 1, 17], &[2, 5, 17]],
        [&[2, 3], &[], &[3]],
        [&[3], &[2, 3], &[2, 1]],
        [&[1, 3], &[2, 1], &[1, 1]],
        [&[0, 3], &[3], &[0, 3]],
        [&[1000, 3], &[1000, 1], &[1000, 3]],
    ];
    let fine = fine(Fused::GatedResidual, &[&[7, 17], &[17], &[7, 17]]);
    shapes.into_iter().map(|shapes| case(Fused::GatedResidual, &shapes)).chain([fine]).collect()
}

pub fn square_norm() -> Vec<Case> {
    let shapes: [&[usize]; 9] = [&[], &[1], &[0], &[5], &[3, 0], &[4, 1, 3], &[2, 3, 1, 5], &[1, 2, 3, 2, 2], &[2, 1, 3, 2, 1, 2]];
    let shapes = SIZES.iter().map(<[usize; 2]>::as_slice).chain(shapes);
    shapes.map(|axes| case(Fused::SquareNorm, &[axes])).chain([fine(Fused::SquareNorm, &[&[3, 17]])]).collect()
}
