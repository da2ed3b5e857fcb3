//! Cases beyond the sizes at which backends take to threads, to blocks, or to partial sums.

use crate::conformance::case::Case;
use crate::conformance::input::Domain;
use crate::conformance::operation::{Operation, TRANSPOSES};
use mfm_core::tensor::{Activation, Binary, Compare, Fused, Reduce, Transpose, Unary};

/// Large cases of everything that loops.
pub fn large() -> Vec<Case> {
    let any = |operation, shapes: &[&[usize]]| Case::new(operation, Domain::Any, shapes);
    let small = |operation, shapes: &[&[usize]]| Case::new(operation, Domain::Small, shapes);
    let fine = |operation, shapes: &[&[usize]]| Case::new(operation, Domain::Fine, shapes);
    // Long sums of one number, in which the roundings of one addition after another do not cancel.
    let tenth = |operation, shapes: &[&[usize]]| Case::new(operation, Domain::Tenth, shapes);
    let sum = |axis| Operation::Reduce(Reduce::Sum, axis);
    let mut cases = vec![
        any(Operation::Unary(Unary::Tanh), &[&[70_001]]),
        any(Operation::Unary(Unary::Scale(0.3)), &[&[300, 111]]),
        any(Operation::Binary(Binary::Add), &[&[300, 111], &[300, 111]]),
        any(Operation::Binary(Binary::Mul), &[&[300, 1, 11], &[11, 1]]),
        any(Operation::Compare(Compare::Less), &[&[300, 111], &[111]]),
        any(Operation::Select, &[&[300, 1], &[300, 111], &[]]).with_domain(0, Domain::Mask),
        tenth(sum(0), &[&[140_003]]),
        tenth(sum(0), &[&[20_001, 3]]),
        small(sum(1), &[&[5, 300, 33]]),
        tenth(sum(1), &[&[2, 1031, 3]]),
        fine(sum(1), &[&[3, 20_001]]),
        any(Operation::Reduce(Reduce::Max, 1), &[&[300, 131]]),
        any(Operation::Reduce(Reduce::Max, 0), &[&[300, 131]]),
        any(Operation::Permute(vec![1, 0]), &[&[301, 131]]),
        any(Operation::Permute(vec![0, 2, 1, 3]), &[&[3, 33, 17, 33]]),
        any(Operation::Concat(1), &[&[300, 101], &[300, 30]]),
        any(Operation::Slice { axis: 1, start: 3, length: 120 }, &[&[300, 131]]),
        any(Operation::Gather { axis: 0, index: (0..1400).map(|i| i * 37 % 300).collect() }, &[&[300, 31]]),
        // Indices beyond 16 bits, and the scatter of them as its derivative.
        any(Operation::Gather { axis: 0, index: (0..700).map(|i| i * 9_973 % 70_001).collect() }, &[&[70_001]]),
        fine(Operation::ScatterAdd { axis: 0, index: (0..1400).map(|i| i * 37 % 50).collect(), length: 50 }, &[&[1400, 31]]),
        tenth(Operation::ScatterAdd { axis: 0, index: vec![1; 10_007], length: 2 }, &[&[10_007, 2]]),
    ];
    for transpose in TRANSPOSES {
        let product = |m: usize, k: usize, n: usize, domain| {
            let left = if transpose.left { [k, m] } else { [m, k] };
            let right = if transpose.right { [n, k] } else { [k, n] };
            Case::new(Operation::MatMul(transpose), domain, &[&left, &right])
        };
        cases.extend([product(600, 37, 33, Domain::Small), product(3, 5003, 5, Domain::Fine), product(65, 130, 64, Domain::Small)]);
    }
    cases.push(small(Operation::MatMul(Transpose::RIGHT), &[&[3, 300, 33], &[3, 40, 33]]));
    cases.push(small(Operation::MatMul(Transpose::NONE), &[&[5, 130, 33], &[33, 40]]));
    cases.push(small(Operation::MatMul(Transpose::NONE), &[&[70, 2, 3], &[70, 3, 2]]));
    cases.push(small(Operation::MatMul(Transpose::RIGHT), &[&[2, 3, 1031], &[2, 2, 1031]]));
    let hook = |op, shapes: &[&[usize]]| small(Operation::Fused(op), shapes);
    cases.extend([
        hook(Fused::Linear { activation: Activation::Silu }, &[&[1300, 33], &[31, 33], &[31]]),
        hook(Fused::Linear { activation: Activation::Gelu }, &[&[2, 301, 40], &[33, 40], &[33]]),
        hook(Fused::Linear { activation: Activation::Identity }, &[&[700, 64], &[5, 64]]),
        hook(Fused::Linear { activation: Activation::Identity }, &[&[36_001, 2], &[3, 2], &[3]]),
        fine(Operation::Fused(Fused::Linear { activation: Activation::Identity }), &[&[2, 10_007], &[1, 10_007]]),
        hook(Fused::Activate { activation: Activation::Gelu }, &[&[300, 131]]),
        hook(Fused::LinearCombination { factors: [0.5; 8] }, &[&[300, 131], &[131], &[300, 1]]),
        hook(Fused::Softmax { axis: 1 }, &[&[300, 131]]),
        hook(Fused::Softmax { axis: 0 }, &[&[300, 131]]),
        hook(Fused::LogMeanExp { axis: 1 }, &[&[3, 15_001]]),
        hook(Fused::LayerNorm { epsilon: 1e-3 }, &[&[4, 80, 131], &[4, 1, 131], &[4, 1, 131]]),
        hook(Fused::Attention, &[&[2, 130, 17], &[2, 131, 17], &[2, 131, 16]]),
        hook(Fused::Attention, &[&[257, 3], &[257, 3], &[257, 3]]),
        hook(Fused::Attention, &[&[3, 4], &[331, 4], &[331, 3]]),
        tenth(Operation::Fused(Fused::SquareNorm), &[&[3, 15_001]]),
        hook(Fused::SquareNorm, &[&[2100, 2]]),
        hook(Fused::GatedResidual, &[&[4, 80, 131], &[4, 1, 131], &[4, 80, 131]]),
    ]);
    cases
}

/// Long sums of equal products, in which the roundings of one addition after another do not cancel.
pub fn long_products() -> Vec<Case> {
    const LONG: usize = 10_007;
    let tenth = |operation, shapes: &[&[usize]]| Case::new(operation, Domain::Tenth, shapes);
    let product = |transpose: Transpose| {
        let left = if transpose.left { [LONG, 3] } else { [3, LONG] };
        let right = if transpose.right { [2, LONG] } else { [LONG, 2] };
        tenth(Operation::MatMul(transpose), &[&left, &right])
    };
    let linear = Operation::Fused(Fused::Linear { activation: Activation::Identity });
    TRANSPOSES.into_iter().map(product).chain([tenth(linear, &[&[2, LONG], &[1, LONG]])]).collect()
}
