//! Random programs: operations on a growing pool of tensors.

use super::case::shape;
use super::failure::Failure;
use super::input::{Domain, Input, LAYOUTS};
use super::operation::{ACTIVATIONS, BINARIES, COMPARES, Operation, TRANSPOSES};
use super::reference::{Reference, ReferenceDevice};
use mfm_core::tensor::{Fused, Reduce, Unary};
use mfm_core::{Device, Error, Result, Shape, Tensor};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One random step, before it is known what it acts on.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    kind: usize,
    operands: [usize; 3],
    numbers: [usize; 4],
}

/// Random inputs and random steps.
#[derive(Clone, Debug)]
pub struct Program {
    inputs: Vec<(Vec<usize>, usize)>,
    steps: Vec<Step>,
}

/// A step on known operands, and whether it is refused.
type Planned = (Operation, Vec<usize>, Option<Error>);

/// A program of which every step is known to be harmless, or to be refused.
#[derive(Debug)]
pub struct Plan {
    inputs: Vec<(Input, usize)>,
    steps: Vec<Planned>,
}

/// Programs of up to eight steps.
pub fn program() -> impl Strategy<Value = Program> {
    let axes = prop::collection::vec(prop_oneof![1 => Just(0usize), 3 => Just(1), 8 => 2..5usize], 0..=4);
    let step = (any::<usize>(), any::<[usize; 3]>(), any::<[usize; 4]>());
    let steps = prop::collection::vec(step.prop_map(|(kind, operands, numbers)| Step { kind, operands, numbers }), 1..=8);
    (prop::collection::vec((axes, any::<usize>()), 1..=3), steps).prop_map(|(inputs, steps)| Program { inputs, steps })
}

/// Runs `test` on `cases` random values, always the same ones, and shrinks the first that fails.
///
/// # Errors
/// That failure, with the smallest value that still fails.
pub fn property<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(&S::Value) -> Result<(), Failure>) -> Result<(), Failure>
where
    S::Value: Debug,
{
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcome = runner.run(strategy, |value| test(&value).map_err(|failure| TestCaseError::fail(failure.to_string())));
    outcome.map_err(|error| match error {
        // The failure in its own words; a panic does not say what it came of.
        TestError::Fail(reason, value) => match catch_unwind(AssertUnwindSafe(|| test(&value))) {
            Ok(Err(failure)) => failure,
            _ => Failure::new(format!("{reason}, with {value:?}")),
        },
        TestError::Abort(reason) => Failure::new(reason.to_string()),
    })
}

impl Step {
    /// The operation that the step means for a first operand of this shape, and the number of its operands.
    fn operation(&self, of: Shape) -> (Operation, usize) {
        let [a, b, c, d] = self.numbers;
        let axis = if of.rank() == 0 { 0 } else { a % of.rank() };
        let length = of.axes().get(axis).copied().unwrap_or(1);
        let activation = ACTIVATIONS[b % ACTIVATIONS.len()];
        let bounded = [Unary::Neg, Unary::Abs, Unary::Sin, Unary::Cos, Unary::Tanh, Unary::Sigmoid, Unary::Scale(0.7), Unary::Shift(-0.2)];
        let mut factors = [0.0; 8];
        factors[..3].copy_from_slice(&[1.0, -0.5, 0.25]);
        match self.kind % 20 {
            0 | 1 => (Operation::Unary(bounded[a % bounded.len()]), 1),
            2 => (Operation::Unary(Unary::Square), 1),
            3 | 4 => (Operation::Binary(BINARIES[a % 3]), 2),
            5 => (Operation::Compare(COMPARES[a % 3]), 2),
            6 => (Operation::Select, 3),
            7 => (Operation::Reduce(if b % 3 == 0 { Reduce::Max } else { Reduce::Sum }, a % (of.rank() + 1)), 1),
            8 => {
                let stretched = of.axes().iter().map(|&n| if n == 1 { b % 4 } else { n });
                let lead = (of.rank() < 4).then_some(c % 3);
                (Operation::Broadcast(shape(&lead.into_iter().chain(stretched).collect::<Vec<_>>())), 1)
            }
            9 => {
                let reversed: Vec<usize> = of.axes().iter().rev().copied().collect();
                let choices = [vec![of.elements()], vec![1, of.elements()], reversed, vec![of.batch(), of.item()]];
                (Operation::Reshape(shape(&choices[a % 4])), 1)
            }
            10 => {
                let mut axes: Vec<usize> = (0..of.rank()).collect();
                axes.rotate_left(axis);
                if b % 2 == 0 {
                    axes.reverse();
                }
                (Operation::Permute(axes), 1)
            }
            11 => {
                let start = b % (length + 1);
                if d % 4 == 1 {
                    let taken = [vec![1, 0], vec![c % 2], vec![0, 1, 0]][c % 3].clone();
                    return (Operation::Split { axis, lengths: vec![start, length - start + usize::from(c % 8 == 0)], taken }, 1);
                }
                (Operation::Slice { axis, start, length: c % (length - start + 1 + usize::from(d % 8 == 0)) }, 1)
            }
            12 => (Operation::Concat(a % (of.rank() + 1)), 2),
            13 => (Operation::MatMul(TRANSPOSES[a % 4]), 2),
            14 => (Operation::Gather { axis, index: [b, c, d].map(|i| i % (length + usize::from(b % 8 == 0)).max(1)).into() }, 1),
            15 => {
                (Operation::ScatterAdd { axis, index: (0..length).map(|i| (b >> (i % 8)) % (c % 4 + 1)).collect(), length: c % 4 + 1 }, 1)
            }
            16 => (Operation::Fused(Fused::Softmax { axis }), 1),
            17 => (Operation::Fused(Fused::LogMeanExp { axis }), 1),
            18 => match a % 3 {
                0 => (Operation::Fused(Fused::Attention), 3),
                1 => (Operation::Fused(Fused::GatedResidual), 3),
                _ => (Operation::Fused(Fused::LayerNorm { epsilon: 0.1 }), 3),
            },
            _ => match a % 3 {
                0 => (Operation::Fused(Fused::Activate { activation }), 1),
                1 => (Operation::Fused(Fused::LinearCombination { factors }), 3),
                _ => (Operation::Fused(Fused::Linear { activation }), 2),
            },
        }
    }
}

impl Program {
    /// The program that bytes decide: one for each choice, zeros after the last.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut bytes = bytes.iter();
        let mut next = || usize::from(bytes.next().copied().unwrap_or(0));
        let inputs =
            (0..1 + next() % 3).map(|_| ((0..next() % 5).map(|_| [0, 1, 1, 1, 2, 2, 3, 4][next() % 8]).collect(), next())).collect();
        let steps = (0..1 + next() % 8)
            .map(|_| Step { kind: next(), operands: [next(), next(), next()], numbers: [next(), next(), next(), next()] })
            .collect();
        Self { inputs, steps }
    }

    /// The program with its operands and parameters chosen, by running it on the judge. What grows too large is left out.
    ///
    /// # Errors
    /// The judge's.
    pub fn plan(&self, judge: &ReferenceDevice) -> Result<Plan> {
        let inputs = self.inputs.iter().map(|(axes, layout)| (Input::new(shape(axes), Domain::Small), *layout)).collect();
        let mut plan = Plan { inputs, steps: Vec::new() };
        let mut pool = plan.inputs(judge)?;
        for step in &self.steps {
            let first = step.operands[0] % pool.len();
            let (operation, arity) = step.operation(pool[first].shape());
            // Operands of equal shape more often than chance has them, so that more steps are possible.
            let same: Vec<usize> = (0..pool.len()).filter(|&i| pool[i].shape() == pool[first].shape()).collect();
            let pick = |k: usize| {
                let any = step.operands[k];
                if step.numbers[3] % 3 == 0 { any % pool.len() } else { same[any % same.len()] }
            };
            let operands: Vec<usize> = std::iter::once(first).chain((1..arity).map(pick)).collect();
            match operation.apply(&operands.iter().map(|&i| &pool[i]).collect::<Vec<_>>()) {
                Ok(output) if tame(&output) => {
                    pool.push(output);
                    plan.steps.push((operation, operands, None));
                }
                Ok(_) => {}
                Err(error) => plan.steps.push((operation, operands, Some(error))),
            }
        }
        Ok(plan)
    }
}

/// Small, finite, and known well enough to be judged in every precision.
fn tame(output: &Reference) -> bool {
    output.numbers().len() <= 4000 && output.numbers().iter().all(|n| n.value.abs() < 1e3 && (n.error < 1e4 || n.error.is_infinite()))
}

impl Plan {
    /// The inputs on a device.
    ///
    /// # Errors
    /// The device's.
    pub fn inputs<D: Device>(&self, device: &D) -> Result<Vec<D::Tensor>> {
        self.inputs.iter().zip(1..).map(|((input, layout), seed)| input.build(device, LAYOUTS[layout % LAYOUTS.len()], seed)).collect()
    }

    /// Everything that the program computes from its inputs, which come first.
    ///
    /// # Errors
    /// A step that fails, or that is not refused though it should be.
    pub fn run<T: Tensor>(&self, inputs: Vec<T>) -> Result<Vec<T>, Failure> {
        let mut pool = inputs;
        for (operation, operands, refused) in &self.steps {
            let operands: Vec<&T> = operands.iter().map(|&i| &pool[i]).collect();
            let place = || format!("{operation:?} of {:?}", operands.iter().map(|x| x.shape()).collect::<Vec<_>>());
            match (operation.apply(&operands), refused) {
                (Ok(output), None) => pool.push(output),
                (Err(_), Some(_)) => {}
                (Ok(_), Some(error)) => return Err(Failure::new(format!("no error where {error:?} is expected")).within(&place())),
                (Err(error), None) => return Err(Failure::from(error).within(&place())),
            }
        }
        Ok(pool)
    }
}
