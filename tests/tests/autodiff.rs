//! The rules of differentiation, on the judge itself: against finite differences, and the suite's own footing.

use mfm_tests::conformance::broken::{BrokenDevice, Fault, every_mutant_is_caught};
use mfm_tests::conformance::reference::ReferenceDevice;
use mfm_tests::conformance::tables::{DIFFERENTIABLE, HOOKS};
use mfm_tests::conformance::{Check, Tolerances, check};

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

mfm_tests::conformance!(reference, JUDGE, Tolerances::F64);

mfm_tests::conformance!(native_faces, BrokenDevice::new(Fault::None), Tolerances::F64);

/// Every fault in the list is caught by the check that is there for it.
#[test]
fn the_suite_catches_every_mutant() -> Check {
    every_mutant_is_caught()
}
