//! Rewards of the command line.

use mfm_cli::reward::{Formula, Inverse, Specification};
use mfm_core::reward::ByDifferentiation;
use mfm_core::{Device, Reward, Shape, Tensor};
use mfm_cpu_ref::CpuDevice;

/// Rewards in words; those in files are another target's.
pub fn text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if !["observation", "quadratic"].iter().any(|kind| text.starts_with(kind)) {
        check(Specification::parse(text));
    }
}

/// What the files hold.
pub fn json(input: &[u8]) {
    for kind in ["observation", "quadratic"] {
        check(Specification::from_json(kind, input, "input.json"));
    }
}

/// There is a sentence, or a reward that has a value and a gradient.
fn check(found: mfm_cli::Result<Specification>) {
    match found {
        Err(failure) => assert!(failure.status() == 2 && !failure.to_string().is_empty()),
        Ok(Specification::Classes { weights, .. }) => assert!(weights.iter().all(|weight| *weight >= 0.0)),
        Ok(Specification::Inverse(Inverse { sigma, row, .. })) => assert!(sigma > 0.0 && sigma.is_finite() && row != Some(0)),
        Ok(Specification::Formula(formula)) => evaluate(formula),
    }
}

fn evaluate(formula: Formula) {
    let device = CpuDevice::<f64>::with_threads(1).unwrap();
    let shape = Shape::new(&[2, formula.dimension()]).unwrap();
    let x = device.full(0.5, shape).unwrap();
    let (value, gradient) = ByDifferentiation(formula).value_and_gradient(&x).unwrap();
    assert_eq!((value.shape().axes(), gradient.shape()), (&[2][..], shape));
}
