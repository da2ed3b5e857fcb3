//! Random sequences of tensor operations: the backend against the judge.

use mfm_cpu_ref::CpuDevice;
use mfm_tests::conformance::check::{program_derivatives_agree, program_slopes_agree, program_values_agree};
use mfm_tests::conformance::program::{Program, program};
use mfm_tests::conformance::{Check, Tolerances};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The program that the bytes decide.
fn decode(input: &[u8]) -> Option<Program> {
    let rng = TestRng::from_seed(RngAlgorithm::PassThrough, input);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    program().new_tree(&mut runner).ok().map(|tree| tree.current())
}

fn require(outcome: Check) {
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Values, in both precisions.
pub fn values(input: &[u8]) {
    let Some(program) = decode(input) else { return };
    require(program_values_agree(&CpuDevice::<f32>::with_threads(1).unwrap(), &Tolerances::F32, &program));
    require(program_values_agree(&CpuDevice::<f64>::with_threads(1).unwrap(), &Tolerances::F64, &program));
}

/// Derivatives in both directions, in both precisions, and against difference quotients.
pub fn derivatives(input: &[u8]) {
    let Some(program) = decode(input) else { return };
    let double = CpuDevice::<f64>::with_threads(1).unwrap();
    require(program_derivatives_agree(&CpuDevice::<f32>::with_threads(1).unwrap(), &Tolerances::F32, &program));
    require(program_derivatives_agree(&double, &Tolerances::F64, &program));
    require(program_slopes_agree(&double, &program));
}
