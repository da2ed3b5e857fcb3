//! The conformance suite on the CPU, on one thread and on two; and on finite differences taken there.

use mfm_cpu_ref::CpuDevice;
use mfm_tests::conformance::tables::{DIFFERENTIABLE, HOOKS};
use mfm_tests::conformance::{Check, Tolerances, check};

mfm_tests::conformance!(cpu_f64, CpuDevice::<f64>::with_threads(1).unwrap(), Tolerances::F64);
mfm_tests::conformance!(cpu_f64_two_threads, CpuDevice::<f64>::with_threads(2).unwrap(), Tolerances::F64);
mfm_tests::conformance!(cpu_f32, CpuDevice::<f32>::with_threads(1).unwrap(), Tolerances::F32);
mfm_tests::conformance!(cpu_f32_two_threads, CpuDevice::<f32>::with_threads(2).unwrap(), Tolerances::F32);

/// jvp, vjp, and both second orders, native where the backend has them, against central differences.
#[test]
fn derivatives_agree_with_finite_differences() -> Check {
    let device = CpuDevice::<f64>::new();
    DIFFERENTIABLE.into_iter().chain(HOOKS).try_for_each(|group| check::finite_differences(&device, group))
}
