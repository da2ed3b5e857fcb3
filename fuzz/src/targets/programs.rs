//! Random sequences of tensor operations: the backend against the judge.

use mfm_cpu_ref::CpuDevice;
use mfm_tests::conformance::check::{program_derivatives_agree, program_slopes_agree, program_values_agree};
use mfm_tests::conformance::program::Program;
use mfm_tests::conformance::{Check, Tolerances};

fn require(outcome: Check) {
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Values, in both precisions.
pub fn values(input: &[u8]) {
    let program = Program::from_bytes(input);
    require(program_values_agree(&CpuDevice::<f32>::with_threads(1).unwrap(), &Tolerances::F32, &program));
    require(program_values_agree(&CpuDevice::<f64>::with_threads(1).unwrap(), &Tolerances::F64, &program));
}

/// Derivatives in both directions, in both precisions, and against difference quotients.
pub fn derivatives(input: &[u8]) {
    let program = Program::from_bytes(input);
    let double = CpuDevice::<f64>::with_threads(1).unwrap();
    require(program_derivatives_agree(&CpuDevice::<f32>::with_threads(1).unwrap(), &Tolerances::F32, &program));
    require(program_derivatives_agree(&double, &Tolerances::F64, &program));
    require(program_slopes_agree(&double, &program));
}
