//! The rules of differentiation, on the judge itself: against finite differences, and the suite's own footing.

use mfm_core::autodiff::{Tape, vjp};
use mfm_core::tensor::Segment;
use mfm_core::{Device, Error, Operations, Result, Tensor};
use mfm_tests::conformance::broken::{BrokenDevice, Fault, every_mutant_is_caught};
use mfm_tests::conformance::input::Layout;
use mfm_tests::conformance::program::{program, property};
use mfm_tests::conformance::reference::{Reference, ReferenceDevice};
use mfm_tests::conformance::tables::{DIFFERENTIABLE, Group, HOOKS};
use mfm_tests::conformance::{Check, Tolerances, check};
use std::cell::Cell;

const JUDGE: ReferenceDevice = ReferenceDevice { relative: Tolerances::F64.relative };

/// jvp, vjp, and both second orders of every primitive, against central differences.
#[test]
fn primitives_agree_with_finite_differences() -> Check {
    DIFFERENTIABLE.into_iter().try_for_each(|group| check::finite_differences(&JUDGE, group))
}

/// The same for the composed body of every hook.
#[test]
fn hooks_agree_with_finite_differences() -> Check {
    HOOKS.into_iter().try_for_each(|group| check::finite_differences(&JUDGE, group))
}

// The judge itself, with native faces for every hook.
mfm_tests::conformance!(native_faces, BrokenDevice::new(Fault::None), Tolerances::F64);

/// Values and gradients whose error bound is infinite pass any comparison. There must be none in the tables, even in f32; the
/// random programs, which compare rounded numbers, may have a few.
#[test]
fn the_judge_decides() -> Check {
    let judge = ReferenceDevice { relative: Tolerances::F32.relative };
    let undecided = |tensor: &Reference| tensor.numbers().iter().filter(|number| number.error.is_infinite()).count();
    for group in DIFFERENTIABLE.into_iter().chain(HOOKS).chain([Group::Compare, Group::Detach]) {
        for case in group.cases() {
            let inputs = case.build(&judge, Layout::Contiguous)?;
            assert_eq!(undecided(&case.run(&inputs)?), 0, "{}", case.name());
            let operands: Vec<&Reference> = inputs.iter().collect();
            let ones = |y: &Reference| judge.full(1.0, y.shape());
            if let Ok((_, gradients)) = vjp(&operands, |x| case.run(x), ones) {
                assert_eq!(gradients.iter().map(undecided).sum::<usize>(), 0, "the gradient of {}", case.name());
            }
        }
    }
    let (all, open, steps) = (Cell::new(0), Cell::new(0), Cell::new(0));
    property(400, &program(), |program| {
        let plan = program.plan(&judge)?;
        let inputs = plan.inputs(&judge)?;
        let before = inputs.len();
        let pool = plan.run(inputs)?;
        steps.set(steps.get() + pool.len() - before);
        all.set(all.get() + pool.iter().map(|x| x.numbers().len()).sum::<usize>());
        open.set(open.get() + pool.iter().map(undecided).sum::<usize>());
        Ok(())
    })?;
    let (all, open, steps) = (all.get(), open.get(), steps.get());
    assert!(steps > 3 * 400 && open * 20 < all, "{steps} steps succeed; {open} elements of {all} are undecided");
    println!("{steps} steps of 400 programs succeed; {open} elements of {all} are undecided");
    Ok(())
}

/// The square of one of its inputs, or a constant: the others have no influence.
#[derive(Clone)]
struct SquareOf(Option<usize>);

impl Segment for SquareOf {
    fn run<T: Tensor>(&self, inputs: &[T]) -> Result<T> {
        self.0.map_or_else(|| inputs[0].detach().square(), |k| inputs[k].square())
    }
}

/// What is run again has the gradients that it has when it is recorded, and where that has none it has none.
#[test]
fn recomputation_changes_no_independence() -> Result<()> {
    let x = JUDGE.full(1.5, mfm_core::Shape::new(&[3])?)?;
    for (used, is_tracked) in [None, Some(0), Some(1)].into_iter().flat_map(|used| [true, false].map(|is_tracked| (used, is_tracked))) {
        let gradients = |recompute: bool| -> Result<Vec<Result<Vec<f64>>>> {
            let tape = Tape::new();
            let [first, second, beside] = [(); 3].map(|()| tape.variable(x.clone()));
            let inputs = [first.clone(), if is_tracked { second.clone() } else { second.detach() }];
            let segment = SquareOf(used);
            let output = if recompute { Tensor::recompute(&segment, &inputs)? } else { segment.run(&inputs)? };
            let found = tape.backward(&output.add(&beside)?, JUDGE.full(1.0, x.shape())?)?;
            Ok([first, second, beside].iter().map(|variable| found.of(variable)?.to_vec()).collect())
        };
        let plain = gradients(false)?;
        assert_eq!(gradients(true)?, plain, "the square of input {used:?}, the second tracked: {is_tracked}");
        assert!(plain.contains(&Err(Error::Independent { op: "gradient" })) && plain[2] == Ok(vec![1.0; 3]), "{plain:?}");
    }
    Ok(())
}

/// Every fault in the list is caught by the check that is there for it.
#[test]
fn the_suite_catches_every_mutant() -> Check {
    every_mutant_is_caught()
}
