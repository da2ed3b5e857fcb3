//! Cases of matrix products, gathers and scatters.

use crate::conformance::case::{Case, shape};
use crate::conformance::input::{Domain, Input};
use crate::conformance::operation::{Operation, TRANSPOSES};
use mfm_core::tensor::Transpose;

/// The leading axes of both operands, and m, k, n.
type Product = (&'static [usize], &'static [usize], [usize; 3]);

const PRODUCTS: [Product; 17] = [
    (&[], &[], [1, 1, 1]),
    (&[], &[], [2, 3, 4]),
    (&[], &[], [3, 3, 3]),
    (&[], &[], [1, 7, 1]),
    (&[], &[], [5, 1, 2]),
    (&[], &[], [0, 3, 2]),
    (&[], &[], [0, 300, 2]),
    (&[], &[], [2, 0, 3]),
    (&[], &[], [2, 3, 0]),
    (&[], &[], [17, 33, 19]),
    (&[2], &[2], [2, 3, 2]),
    (&[2], &[], [3, 2, 4]),
    (&[], &[3], [2, 2, 3]),
    (&[1], &[3], [2, 3, 2]),
    (&[0], &[1], [2, 3, 2]),
    (&[2, 1], &[3], [2, 2, 3]),
    (&[2, 1, 3, 1], &[1, 2, 1, 2], [2, 3, 2]),
];

pub fn matmul() -> Vec<Case> {
    let exact = PRODUCTS.iter().flat_map(|product| TRANSPOSES.map(|transpose| case(product, transpose, Domain::Any)));
    let fine: [Product; 2] = [(&[], &[], [5, 17, 9]), (&[2], &[2], [3, 8, 5])];
    exact.chain(fine.iter().flat_map(|product| TRANSPOSES.map(|transpose| case(product, transpose, Domain::Fine)))).collect()
}

fn case(&(left, right, [m, k, n]): &Product, transpose: Transpose, domain: Domain) -> Case {
    let operand = |lead: &[usize], rows, columns, swap| {
        let matrix = if swap { [columns, rows] } else { [rows, columns] };
        Input::new(shape(&[lead, &matrix].concat()), domain)
    };
    let inputs = vec![operand(left, m, k, transpose.left), operand(right, k, n, transpose.right)];
    Case { operation: Operation::MatMul(transpose), inputs }
}

pub fn gather() -> Vec<Case> {
    let entries: [(&[usize], usize, &[usize]); 10] = [
        (&[5], 0, &[4, 0, 2]),
        (&[5], 0, &[]),
        (&[0], 0, &[]),
        (&[1], 0, &[0, 0, 0]),
        (&[3, 4], 0, &[2, 2, 0, 1, 2]),
        (&[3, 4], 1, &[3, 1]),
        (&[2, 5, 3], 1, &[4, 4, 0]),
        (&[2, 0, 3], 2, &[1, 2, 2, 0]),
        (&[300, 2], 0, &[299, 17, 255, 256, 0]),
        (&[1, 2, 1, 3, 1, 2], 3, &[2, 0, 2, 1]),
    ];
    let of = |(axes, axis, index): (&[usize], usize, &[usize])| {
        Case::new(Operation::Gather { axis, index: index.to_vec() }, Domain::Any, &[axes])
    };
    entries.map(of).into()
}

pub fn scatter_add() -> Vec<Case> {
    let entries: [(&[usize], usize, &[usize], usize); 10] = [
        (&[3], 0, &[4, 0, 2], 5),
        (&[4], 0, &[1, 1, 1, 1], 3),
        (&[0], 0, &[], 3),
        (&[0], 0, &[], 0),
        (&[5, 4], 0, &[2, 2, 0, 1, 2], 3),
        (&[3, 2], 1, &[3, 1], 4),
        (&[2, 3, 3], 1, &[4, 4, 0], 6),
        (&[2, 0, 2], 2, &[1, 1], 2),
        (&[6, 2], 0, &[299, 17, 255, 17, 0, 17], 300),
        (&[1, 2, 1, 4, 1, 2], 3, &[2, 0, 2, 1], 3),
    ];
    let of = |(axes, axis, index, length): (&[usize], usize, &[usize], usize)| {
        Case::new(Operation::ScatterAdd { axis, index: index.to_vec(), length }, Domain::Any, &[axes])
    };
    entries.map(of).into()
}
