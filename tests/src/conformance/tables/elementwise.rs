//! Cases of element-wise operations and reductions.

use super::SHAPES;
use crate::conformance::case::{Case, shape};
use crate::conformance::input::{Domain, Input};
use crate::conformance::operation::{BINARIES, COMPARES, Operation, UNARIES};
use mfm_core::tensor::{Binary, Reduce, Unary};

/// Pairs of shapes that broadcast: equal, a scalar, either side stretched, both, other ranks, empty.
const PAIRS: [(&[usize], &[usize]); 16] = [
    (&[], &[]),
    (&[3], &[]),
    (&[], &[2, 3]),
    (&[0], &[1]),
    (&[257], &[257]),
    (&[2, 3], &[2, 3]),
    (&[2, 3], &[3]),
    (&[2, 3], &[2, 1]),
    (&[1, 3], &[2, 1]),
    (&[4, 1, 3], &[1, 2, 1]),
    (&[2, 3, 4], &[3, 1]),
    (&[2, 0, 3], &[1, 1, 3]),
    (&[1], &[2, 0]),
    (&[2, 3, 1, 2], &[1, 3, 4, 1]),
    (&[5], &[1, 2, 1, 3, 5]),
    (&[2, 1, 2, 1, 2, 1], &[1, 2, 1, 2, 1, 2]),
];

pub fn unary() -> Vec<Case> {
    let domain = |op| match op {
        Unary::Log | Unary::Sqrt => Domain::Positive,
        Unary::Recip | Unary::Abs => Domain::Away,
        _ => Domain::Any,
    };
    let of = |op| SHAPES.map(|axes| Case::new(Operation::Unary(op), domain(op), &[axes]));
    UNARIES.into_iter().flat_map(of).collect()
}

pub fn binary() -> Vec<Case> {
    let of = |op| {
        let divisor = if op == Binary::Div { Domain::Away } else { Domain::Any };
        PAIRS.map(|(a, b)| Case::new(Operation::Binary(op), Domain::Any, &[a, b]).with_domain(1, divisor))
    };
    let fine = |op| Case::new(Operation::Binary(op), Domain::Fine, &[&[67], &[67]]);
    BINARIES.into_iter().flat_map(of).chain(BINARIES.map(fine)).collect()
}

/// Numbers of few levels, so that many are equal.
pub fn compare() -> Vec<Case> {
    let of = |op| PAIRS.map(|(a, b)| Case::new(Operation::Compare(op), Domain::Mask, &[a, b]));
    let spread = |op| Case::new(Operation::Compare(op), Domain::Any, &[&[40, 1], &[40]]);
    COMPARES.into_iter().flat_map(of).chain(COMPARES.map(spread)).collect()
}

pub fn select() -> Vec<Case> {
    let triples: [[&[usize]; 3]; 9] = [
        [&[], &[], &[]],
        [&[7], &[7], &[7]],
        [&[2, 1], &[2, 3], &[3]],
        [&[3], &[2, 3], &[]],
        [&[2, 3], &[], &[]],
        [&[4, 1, 1], &[1, 2, 1], &[1, 1, 3]],
        [&[0, 3], &[3], &[1, 1]],
        [&[300], &[300], &[1]],
        [&[1, 2, 1, 2, 1, 2], &[2, 1, 2, 1, 2, 1], &[2]],
    ];
    triples.iter().map(|shapes| Case::new(Operation::Select, Domain::Any, shapes).with_domain(0, Domain::Mask)).collect()
}

pub fn reduce_sum() -> Vec<Case> {
    reduce(Reduce::Sum, Domain::Any)
}

pub fn reduce_max() -> Vec<Case> {
    reduce(Reduce::Max, Domain::Distinct)
}

fn reduce(op: Reduce, domain: Domain) -> Vec<Case> {
    let longer: [&[usize]; 4] = [&[1000], &[3, 257], &[257, 3], &[33, 5, 2]];
    let along = |axes: &'static [usize]| {
        (0..axes.len()).map(move |axis| Case { operation: Operation::Reduce(op, axis), inputs: vec![Input::new(shape(axes), domain)] })
    };
    SHAPES.into_iter().chain(longer).flat_map(along).collect()
}
