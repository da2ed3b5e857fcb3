//! Cases of operations that move elements.

use super::SHAPES;
use crate::conformance::case::{Case, shape};
use crate::conformance::input::Domain;
use crate::conformance::operation::Operation;

pub fn broadcast() -> Vec<Case> {
    let pairs: [(&[usize], &[usize]); 14] = [
        (&[], &[]),
        (&[], &[3]),
        (&[], &[2, 0]),
        (&[1], &[4]),
        (&[1], &[0]),
        (&[3], &[2, 3]),
        (&[2, 1], &[2, 5]),
        (&[1, 5], &[3, 5]),
        (&[2, 3], &[2, 3]),
        (&[4, 1, 3], &[4, 2, 3]),
        (&[1, 2, 1], &[3, 2, 4]),
        (&[0, 1], &[0, 3]),
        (&[2], &[1, 2, 1, 3, 2]),
        (&[2, 1, 2, 1, 2, 1], &[2, 3, 2, 2, 2, 3]),
    ];
    pairs.map(|(from, to)| Case::new(Operation::Broadcast(shape(to)), Domain::Any, &[from])).into()
}

pub fn reshape() -> Vec<Case> {
    let pairs: [(&[usize], &[usize]); 13] = [
        (&[], &[1, 1]),
        (&[1, 1, 1], &[]),
        (&[6], &[2, 3]),
        (&[2, 3], &[3, 2]),
        (&[2, 3], &[6]),
        (&[2, 3, 4], &[6, 4]),
        (&[2, 3, 4], &[2, 12]),
        (&[2, 3, 4], &[4, 3, 2]),
        (&[2, 3], &[1, 2, 1, 3, 1]),
        (&[0, 3], &[2, 0]),
        (&[5, 0], &[0]),
        (&[2, 2, 2, 2, 2, 2], &[4, 16]),
        (&[64], &[2, 2, 2, 2, 2, 2]),
    ];
    pairs.map(|(from, to)| Case::new(Operation::Reshape(shape(to)), Domain::Any, &[from])).into()
}

pub fn permute() -> Vec<Case> {
    let pairs: [(&[usize], &[usize]); 13] = [
        (&[], &[]),
        (&[3], &[0]),
        (&[2, 3], &[0, 1]),
        (&[2, 3], &[1, 0]),
        (&[40, 33], &[1, 0]),
        (&[0, 3], &[1, 0]),
        (&[2, 3, 4], &[1, 2, 0]),
        (&[2, 3, 4], &[2, 0, 1]),
        (&[2, 3, 4], &[0, 2, 1]),
        (&[2, 1, 4], &[2, 1, 0]),
        (&[2, 3, 4, 5], &[0, 2, 1, 3]),
        (&[2, 3, 1, 2, 2], &[4, 2, 0, 3, 1]),
        (&[2, 1, 3, 2, 1, 2], &[5, 3, 1, 0, 2, 4]),
    ];
    pairs.map(|(from, axes)| Case::new(Operation::Permute(axes.to_vec()), Domain::Any, &[from])).into()
}

/// The whole, the beginning, the middle, the end and nothing of every axis.
pub fn slice() -> Vec<Case> {
    let mut cases = Vec::new();
    for axes in SHAPES {
        for (axis, &n) in axes.iter().enumerate() {
            let mut ranges = vec![(0, n), (0, n / 2), (n / 3, n - n / 3), (n / 3, n / 3), (n, 0)];
            ranges.dedup();
            cases.extend(
                ranges.into_iter().map(|(start, length)| Case::new(Operation::Slice { axis, start, length }, Domain::Any, &[axes])),
            );
        }
    }
    cases
}

/// All parts in another order, some of them, one twice, one that is the whole, parts of nothing.
pub fn split() -> Vec<Case> {
    type Cut = (&'static [usize], usize, &'static [usize], &'static [usize]);
    let cuts: [Cut; 14] = [
        (&[7], 0, &[2, 1, 4], &[2, 0, 1]),
        (&[7], 0, &[2, 1, 4], &[1]),
        (&[7], 0, &[2, 1, 4], &[0, 0, 2]),
        (&[7], 0, &[7], &[0]),
        (&[7], 0, &[7], &[0, 0]),
        (&[7], 0, &[0, 7, 0], &[2, 1]),
        (&[0], 0, &[0, 0], &[1]),
        (&[300], 0, &[100, 160, 40], &[0, 1, 2]),
        (&[2, 6], 1, &[1, 2, 3], &[1, 2]),
        (&[2, 16], 1, &[1, 2, 1, 3, 1, 0, 2, 1, 2, 1, 2], &[10, 3, 4, 8, 6, 7]),
        (&[6, 3], 0, &[2, 2, 2], &[2, 1, 0]),
        (&[0, 3], 1, &[1, 2], &[1, 0]),
        (&[2, 3, 4], 1, &[1, 1, 1], &[0, 2, 0]),
        (&[2, 1, 3, 2, 1, 4], 5, &[3, 1], &[1, 0]),
    ];
    let operation = |axis, lengths: &[usize], taken: &[usize]| Operation::Split { axis, lengths: lengths.into(), taken: taken.into() };
    cuts.map(|(axes, axis, lengths, taken)| Case::new(operation(axis, lengths, taken), Domain::Any, &[axes])).into()
}

pub fn concat() -> Vec<Case> {
    let lists: [(usize, &[&[usize]]); 12] = [
        (0, &[&[3]]),
        (0, &[&[2], &[3], &[1]]),
        (0, &[&[2], &[0], &[3]]),
        (0, &[&[0], &[0]]),
        (0, &[&[2, 3], &[1, 3]]),
        (1, &[&[2, 3], &[2, 1], &[2, 4]]),
        (1, &[&[0, 3], &[0, 1]]),
        (1, &[&[2, 1, 3], &[2, 2, 3]]),
        (2, &[&[2, 3, 1], &[2, 3, 4], &[2, 3, 2], &[2, 3, 1]]),
        (0, &[&[300], &[40]]),
        (1, &[&[2, 1], &[2, 3], &[2, 1], &[2, 2], &[2, 1], &[2, 0], &[2, 2], &[2, 1], &[2, 3], &[2, 1], &[2, 2]]),
        (3, &[&[1, 2, 1, 2, 2, 1], &[1, 2, 1, 3, 2, 1]]),
    ];
    lists.map(|(axis, shapes)| Case::new(Operation::Concat(axis), Domain::Any, shapes)).into()
}

pub fn detach() -> Vec<Case> {
    SHAPES.map(|axes| Case::new(Operation::Detach, Domain::Any, &[axes])).into()
}
