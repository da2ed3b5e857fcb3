//! Mistakes of the caller give the documented error, on a tensor and under both decorators, and never a panic.

use crate::conformance::case::{Case, shape};
use crate::conformance::failure::{Check, Failure, Within};
use crate::conformance::input::{Domain, Layout};
use crate::conformance::operation::Operation;
use mfm_core::autodiff::{Dual, Tape};
use mfm_core::tensor::{Activation, Binary, Compare, Fused, Reduce, Transpose};
use mfm_core::{Device, Error, Result, Tensor};

/// The kinds of error that callers can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Shape,
    Rank,
    Axis,
    Length,
    Index,
    TooLarge,
    Other,
}

impl From<&Error> for Kind {
    fn from(error: &Error) -> Self {
        match error {
            Error::Shape { .. } => Self::Shape,
            Error::Rank { .. } => Self::Rank,
            Error::Axis { .. } => Self::Axis,
            Error::Length { .. } => Self::Length,
            Error::Index { .. } => Self::Index,
            Error::TooLarge { .. } => Self::TooLarge,
            _ => Self::Other,
        }
    }
}

/// An operation, operands that it does not take, and the errors that may come of it.
type Mistake = (Operation, &'static [&'static [usize]], &'static [Kind]);

const MAX: usize = usize::MAX;
/// A length of which a shape may be, and no memory.
pub(super) const GIANT: usize = MAX / 32;
/// A length of which a shape may be, but not its square.
pub(super) const SIDE: usize = 1 << (usize::BITS / 2 - 1);
/// The same, with a square that is no number either.
const WIDE: usize = 4 * SIDE;

fn primitives() -> Vec<Mistake> {
    use Kind::{Axis, Index, Length, Rank, Shape, TooLarge};
    use Operation::{Concat, MatMul, Permute, Select, Slice};
    let gather = |axis, index: &[usize]| Operation::Gather { axis, index: index.to_vec() };
    let split = |axis, lengths: &[usize]| Operation::Split { axis, lengths: lengths.to_vec(), taken: vec![0] };
    let scatter = |axis, index: &[usize], length| Operation::ScatterAdd { axis, index: index.to_vec(), length };
    vec![
        (Operation::Binary(Binary::Add), &[&[2, 3], &[3, 2]], &[Shape]),
        (Operation::Binary(Binary::Mul), &[&[2], &[3]], &[Shape]),
        (Operation::Binary(Binary::Div), &[&[0], &[2]], &[Shape]),
        (Operation::Compare(Compare::Less), &[&[2, 3], &[2]], &[Shape]),
        (Select, &[&[2], &[3], &[3]], &[Shape]),
        (Select, &[&[3], &[2], &[3]], &[Shape]),
        (Select, &[&[3], &[3], &[4, 2]], &[Shape]),
        (Operation::Reduce(Reduce::Sum, 0), &[&[]], &[Axis]),
        (Operation::Reduce(Reduce::Sum, 2), &[&[2, 3]], &[Axis]),
        (Operation::Reduce(Reduce::Max, MAX), &[&[2, 3]], &[Axis]),
        (Operation::Broadcast(shape(&[2, 4])), &[&[2, 3]], &[Shape]),
        (Operation::Broadcast(shape(&[3])), &[&[2, 3]], &[Shape]),
        (Operation::Broadcast(shape(&[3, 1])), &[&[3]], &[Shape]),
        (Operation::Broadcast(shape(&[])), &[&[1]], &[Shape]),
        (Operation::Broadcast(shape(&[1])), &[&[0]], &[Shape]),
        (Operation::Reshape(shape(&[7])), &[&[2, 3]], &[Shape]),
        (Operation::Reshape(shape(&[])), &[&[0]], &[Shape]),
        (Operation::Reshape(shape(&[0, 5])), &[&[1]], &[Shape]),
        (Permute(vec![0, 0]), &[&[2, 3]], &[Axis, Length]),
        (Permute(vec![0, 2]), &[&[2, 3]], &[Axis, Length]),
        (Permute(vec![1, MAX]), &[&[2, 3]], &[Axis, Length]),
        (Permute(vec![0]), &[&[2, 3]], &[Axis, Length]),
        (Permute(vec![0, 1, 2]), &[&[2, 3]], &[Axis, Length]),
        (Permute(vec![0, 1, 2, 3, 4, 5, 6, 7]), &[&[2, 3]], &[Axis, Length]),
        (Permute(vec![]), &[&[3]], &[Axis, Length]),
        (Slice { axis: 1, start: 0, length: 1 }, &[&[3]], &[Axis]),
        (Slice { axis: 0, start: 0, length: 0 }, &[&[]], &[Axis]),
        (Slice { axis: 0, start: 2, length: 2 }, &[&[3]], &[Axis]),
        (Slice { axis: 0, start: 4, length: 0 }, &[&[3]], &[Axis]),
        (Slice { axis: 0, start: MAX, length: 1 }, &[&[3]], &[Axis]),
        (Slice { axis: 0, start: 1, length: MAX }, &[&[3]], &[Axis]),
        (Slice { axis: MAX, start: 0, length: 1 }, &[&[3]], &[Axis]),
        (split(1, &[3]), &[&[3]], &[Axis]),
        (split(0, &[]), &[&[]], &[Axis]),
        (split(MAX, &[2, 1]), &[&[3]], &[Axis]),
        (split(0, &[]), &[&[3]], &[Length]),
        (split(0, &[2]), &[&[3]], &[Length]),
        (split(1, &[2, 2]), &[&[2, 3]], &[Length]),
        (split(0, &[MAX, 4]), &[&[3]], &[Length]),
        (Concat(0), &[], &[Length]),
        (Concat(0), &[&[2, 3], &[2, 4]], &[Shape]),
        (Concat(0), &[&[2, 3], &[2]], &[Shape]),
        (Concat(1), &[&[2, 3], &[2, 3], &[1, 3]], &[Shape]),
        (Concat(2), &[&[2, 3], &[2, 3]], &[Axis, Shape]),
        (Concat(0), &[&[]], &[Axis, Shape]),
        (MatMul(Transpose::NONE), &[&[2, 3], &[2, 3]], &[Shape]),
        (MatMul(Transpose::RIGHT), &[&[2, 3], &[3, 2]], &[Shape]),
        (MatMul(Transpose::LEFT), &[&[2, 3], &[3, 2]], &[Shape]),
        (MatMul(Transpose::NONE), &[&[3], &[3, 2]], &[Shape, Rank]),
        (MatMul(Transpose::NONE), &[&[2, 3], &[3]], &[Shape, Rank]),
        (MatMul(Transpose::NONE), &[&[], &[]], &[Shape, Rank]),
        (MatMul(Transpose::NONE), &[&[2, 2, 3], &[3, 3, 2]], &[Shape]),
        (gather(0, &[3]), &[&[3]], &[Index]),
        (gather(0, &[0, MAX]), &[&[3]], &[Index]),
        (gather(1, &[0]), &[&[2, 0]], &[Index]),
        (gather(1, &[0]), &[&[3]], &[Axis]),
        (gather(0, &[]), &[&[]], &[Axis]),
        (scatter(0, &[0, 1, 3], 3), &[&[3]], &[Index]),
        (scatter(0, &[0, 1, MAX], 3), &[&[3]], &[Index]),
        (scatter(0, &[0], 0), &[&[1]], &[Index]),
        (scatter(0, &[0, 1], 3), &[&[3]], &[Length]),
        (scatter(0, &[0, 1, 2, 0], 3), &[&[3]], &[Length]),
        (scatter(1, &[0], 3), &[&[3]], &[Axis]),
        (scatter(0, &[0, 1], MAX), &[&[2, 2]], &[TooLarge]),
        // Operands without elements, and results that are too large. The sum of 33 lengths goes beyond the last number, to one that would do.
        (Concat(1), &[&[0, GIANT] as &[usize]; 9], &[TooLarge]),
        (Concat(1), &[&[0, GIANT] as &[usize]; 33], &[TooLarge]),
        (MatMul(Transpose::NONE), &[&[SIDE, 0], &[0, SIDE]], &[TooLarge]),
        (Operation::Binary(Binary::Add), &[&[WIDE, 1, 0], &[1, WIDE, 0]], &[TooLarge]),
        (Operation::Compare(Compare::Less), &[&[WIDE, 1, 0], &[1, WIDE, 0]], &[TooLarge]),
        (Select, &[&[WIDE, 1, 0], &[1, WIDE, 0], &[]], &[TooLarge]),
        (gather(0, &[0; 33]), &[&[1, GIANT, 0]], &[TooLarge]),
    ]
}

fn hooks() -> Vec<Mistake> {
    use Kind::{Axis, Length, Rank, Shape};
    let activation = Activation::Silu;
    let fused = Operation::Fused;
    let (linear, norm) = (fused(Fused::Linear { activation }), fused(Fused::LayerNorm { epsilon: 1e-5 }));
    let (activate, combine) = (fused(Fused::Activate { activation }), fused(Fused::LinearCombination { factors: [1.0; 8] }));
    let layers = fused(Fused::Layers { between: activation, last: activation });
    let (attention, residual) = (fused(Fused::Attention), fused(Fused::GatedResidual));
    vec![
        (linear.clone(), &[&[2, 3]], &[Length]),
        (linear.clone(), &[&[2, 3], &[4, 3], &[4], &[4]], &[Length]),
        (linear.clone(), &[&[2, 3], &[3, 4]], &[Shape]),
        (linear.clone(), &[&[], &[4, 3]], &[Shape]),
        (linear.clone(), &[&[2, 3], &[3]], &[Shape]),
        (linear.clone(), &[&[2, 3], &[2, 4, 3]], &[Shape]),
        (linear.clone(), &[&[2, 3], &[4, 3], &[1]], &[Shape]),
        (linear.clone(), &[&[2, 3], &[4, 3], &[1, 4]], &[Shape]),
        (linear, &[&[2, 3], &[4, 3], &[]], &[Shape]),
        (layers.clone(), &[], &[Length]),
        (layers.clone(), &[&[2, 3]], &[Length]),
        (layers.clone(), &[&[2, 3], &[4, 3]], &[Length]),
        (layers.clone(), &[&[2, 3], &[4, 3], &[4], &[2, 4]], &[Length]),
        (layers.clone(), &[&[2, 3], &[4, 3], &[1]], &[Shape]),
        (layers.clone(), &[&[2, 3], &[4, 3], &[1, 4]], &[Shape]),
        (layers.clone(), &[&[2, 4], &[4, 3], &[4]], &[Shape]),
        (layers.clone(), &[&[2, 3], &[4, 3], &[4], &[2, 3], &[2]], &[Shape]),
        (layers, &[&[2, 3], &[4, 3], &[4], &[2, 4], &[3]], &[Shape]),
        (activate.clone(), &[], &[Length]),
        (activate.clone(), &[&[2], &[2]], &[Length]),
        (activate, &[&[2], &[2], &[2]], &[Length]),
        (combine.clone(), &[], &[Length]),
        (combine.clone(), &[&[1usize] as &[usize]; 9], &[Length]),
        (combine.clone(), &[&[2], &[3]], &[Shape]),
        (combine, &[&[2], &[2], &[2, 3]], &[Shape]),
        (fused(Fused::Softmax { axis: 1 }), &[&[3]], &[Axis]),
        (fused(Fused::Softmax { axis: 0 }), &[&[]], &[Axis]),
        (fused(Fused::Softmax { axis: 0 }), &[&[3], &[3]], &[Length]),
        (fused(Fused::LogMeanExp { axis: MAX }), &[&[3]], &[Axis]),
        (fused(Fused::LogMeanExp { axis: 0 }), &[], &[Length]),
        (fused(Fused::SquareNorm), &[&[3], &[3]], &[Length]),
        (norm.clone(), &[&[2, 3], &[3]], &[Length]),
        (norm.clone(), &[&[], &[], &[]], &[Rank, Axis]),
        (norm.clone(), &[&[2, 3], &[4], &[3]], &[Shape]),
        (norm, &[&[2, 3], &[3], &[4]], &[Shape]),
        (attention.clone(), &[&[2, 3], &[2, 3]], &[Length]),
        (attention.clone(), &[&[3], &[3], &[3]], &[Shape, Rank]),
        (attention.clone(), &[&[], &[], &[]], &[Rank, Axis, Shape]),
        (attention.clone(), &[&[2, 3], &[2, 4], &[2, 3]], &[Shape]),
        (attention.clone(), &[&[2, 3], &[4, 3], &[5, 3]], &[Shape]),
        (attention, &[&[2, 2, 3], &[3, 2, 3], &[2, 2, 3]], &[Shape]),
        (residual.clone(), &[&[2, 3]], &[Length]),
        (residual.clone(), &[&[2, 3], &[2], &[2, 3]], &[Shape]),
        (residual, &[&[2, 3], &[1], &[3, 3]], &[Shape]),
    ]
}

/// Every mistake in the tables.
///
/// # Errors
/// The first that is not answered as documented.
pub fn errors<D: Device>(device: &D) -> Check {
    for (operation, shapes, kinds) in primitives().into_iter().chain(hooks()) {
        let case = Case::new(operation, Domain::Any, shapes);
        let place = || case.name();
        let inputs = case.build(device, Layout::Contiguous).within(place)?;
        answered(case.run(&inputs), kinds).within(place)?;
        let duals = inputs.iter().map(|x| Dual::new(x.clone(), x.clone())).collect::<Result<Vec<_>>>()?;
        answered(case.run(&duals), kinds).within(|| "Dual").within(place)?;
        let tape = Tape::new();
        let variables: Vec<_> = inputs.iter().map(|x| tape.variable(x.clone())).collect();
        answered(case.run(&variables), kinds).within(|| "Var").within(place)?;
    }
    for found in [0, 5, 7] {
        let six = shape(&[2, 3]);
        answered(device.from_slice(&vec![0.0; found], six), &[Kind::Length]).within(|| format!("from_slice of {found} values"))?;
    }
    answered(device.from_slice(&[1.0, 2.0], shape(&[GIANT])), &[Kind::Length]).within(|| "from_slice of too few values")
}

fn answered<T: Tensor>(outcome: Result<T>, kinds: &[Kind]) -> Check {
    match outcome {
        Ok(output) => Err(Failure::new(format!("a result of shape {} instead of an error of kind {kinds:?}", output.shape()))),
        Err(error) if kinds.contains(&Kind::from(&error)) => Ok(()),
        Err(error) => Err(Failure::new(format!("{error:?} instead of an error of kind {kinds:?}"))),
    }
}
