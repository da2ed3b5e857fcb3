//! Single operations with arbitrary arguments: an answer or an error, as the judge has it, and never a panic.

use super::{judge, judge_failed};
use crate::conformance::case::Case;
use crate::conformance::failure::{Check, Within, require};
use crate::conformance::input::{Domain, Layout};
use crate::conformance::operation::{ACTIVATIONS, BINARIES, Operation, TRANSPOSES};
use crate::conformance::program::property;
use crate::conformance::tolerances::Tolerances;
use mfm_core::autodiff::{Dual, Tape};
use mfm_core::tensor::{Fused, Reduce};
use mfm_core::{Device, Error, Result, Shape};
use proptest::prelude::*;

/// How many calls are made.
const CASES: u32 = 3000;

/// A call before its arguments have a meaning.
#[derive(Clone, Debug)]
struct Wild {
    kind: usize,
    shapes: Vec<Vec<usize>>,
    list: Vec<usize>,
    numbers: [usize; 3],
}

/// Small numbers, which may fit, and some that never do.
fn number() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![12 => 0..5usize, 1 => Just(usize::MAX), 1 => Just(usize::MAX / 2), 1 => Just(1 << 32), 1 => 5..10usize]
}

fn wild() -> impl Strategy<Value = Wild> {
    let shapes = prop::collection::vec(prop::collection::vec(0..4usize, 0..=4), 0..=3);
    let numbers = [number(), number(), number()];
    let list = prop::collection::vec(number(), 0..=7);
    (any::<usize>(), shapes, list, numbers).prop_map(|(kind, shapes, list, numbers)| Wild { kind, shapes, list, numbers })
}

impl Wild {
    /// The call, unless its shape is none.
    fn case(&self) -> Option<Case> {
        let [a, b, c] = self.numbers;
        let small = |n: usize| n % 16;
        let operation = match self.kind % 20 {
            0 => Operation::Binary(BINARIES[small(a) % 4]),
            1 => Operation::Select,
            2 => Operation::Reduce(Reduce::Sum, a),
            3 => Operation::Reduce(Reduce::Max, a),
            4 => Operation::Broadcast(Shape::new(&self.list.iter().map(|&n| small(n) % 5).collect::<Vec<_>>()).ok()?),
            5 => Operation::Reshape(Shape::new(&self.list).ok()?),
            6 => Operation::Permute(self.list.clone()),
            7 => Operation::Split { axis: small(a) % 4, lengths: self.list.clone(), taken: vec![small(b) % 4, small(c) % 4] },
            8 => Operation::Slice { axis: a, start: b, length: c },
            9 => Operation::Concat(a),
            10 => Operation::MatMul(TRANSPOSES[small(a) % 4]),
            11 => Operation::Gather { axis: a, index: self.list.clone() },
            // A length that overflows is an error; one that merely fills the memory is not asked for.
            12 => Operation::ScatterAdd { axis: a, index: self.list.clone(), length: if b > 16 { usize::MAX } else { b } },
            13 => Operation::Fused(Fused::Softmax { axis: a }),
            14 => Operation::Fused(Fused::LogMeanExp { axis: a }),
            15 => Operation::Fused(Fused::Linear { activation: ACTIVATIONS[small(a) % 4] }),
            16 => Operation::Fused(Fused::LayerNorm { epsilon: 0.1 }),
            17 => Operation::Fused(Fused::Layers { between: ACTIVATIONS[small(a) % 4], last: ACTIVATIONS[small(b) % 4] }),
            18 => Operation::Fused(Fused::LinearCombination { factors: [1.0, 0.5, -1.0, 2.0, 1.0, 1.0, 1.0, 1.0] }),
            _ => {
                let activate = Fused::Activate { activation: ACTIVATIONS[small(b) % 4] };
                Operation::Fused([Fused::Attention, Fused::GatedResidual, Fused::SquareNorm, activate][small(a) % 4])
            }
        };
        let shapes: Vec<&[usize]> = self.shapes.iter().map(Vec::as_slice).collect();
        Some(Case::new(operation, Domain::Small, &shapes))
    }
}

/// Arbitrary shapes, axes, ranges, permutations and indices.
///
/// # Errors
/// The smallest call that panics, or is answered otherwise than the judge answers it.
pub fn wild_arguments<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    property(CASES, &wild(), |wild| {
        let Some(case) = wild.case() else { return Ok(()) };
        one(device, tolerances, &case).within(|| case.name())
    })
}

fn one<D: Device>(device: &D, tolerances: &Tolerances, case: &Case) -> Check {
    let judge = judge(tolerances);
    let expected = case.run(&case.build(&judge, Layout::Contiguous).map_err(judge_failed)?);
    let inputs = case.build(device, Layout::Contiguous)?;
    let actual = case.run(&inputs);
    match (&expected, &actual) {
        (Ok(expected), Ok(actual)) => tolerances.agree(expected, actual)?,
        _ => same_answer(&expected, &actual)?,
    }
    let duals = inputs.iter().map(|x| Dual::new(x.clone(), x.clone())).collect::<Result<Vec<_>>>()?;
    same_answer(&expected, &case.run(&duals)).within(|| "Dual")?;
    let tape = Tape::new();
    let variables: Vec<_> = inputs.iter().map(|x| tape.variable(x.clone())).collect();
    same_answer(&expected, &case.run(&variables)).within(|| "Var")
}

/// Both an answer or both an error.
fn same_answer<A, B>(expected: &Result<A>, actual: &Result<B>) -> Check {
    let error = |error: Option<&Error>| error.map_or_else(|| "an answer".to_owned(), |error| format!("{error:?}"));
    let (wanted, found) = (expected.as_ref().err(), actual.as_ref().err());
    require(wanted.is_some() == found.is_some(), || format!("{} where {} is expected", error(found), error(wanted)))
}
