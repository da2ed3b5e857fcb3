//! The precise numbers of a device: nothing is lost on the way to them, and small steps are not lost in them.

use super::host::same_bits;
use crate::conformance::case::shape;
use crate::conformance::failure::{Check, Within, require};
use crate::conformance::input::LAYOUTS;
use crate::conformance::tables::Group;
use mfm_core::tensor::{OptimiserState, OptimiserStep, OptimiserUpdate};
use mfm_core::{Device, Operations, Tensor};

/// Values go to precise numbers and back unchanged, from every layout; and of a precise state with a gradient of the device's own numbers, each of many small
/// steps counts, as do the moments and the average.
///
/// # Errors
/// The first difference.
pub fn precise<D: Device>(device: &D) -> Check {
    for case in Group::Detach.cases() {
        for layout in LAYOUTS {
            let tensor = &case.build(device, layout)?[0];
            there_and_back(tensor).within(|| format!("{}, {layout:?}", case.inputs[0].shape))?;
        }
    }
    let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.5, -2.0];
    there_and_back(&device.from_slice(&special, shape(&[7]))?).within(|| "special values")?;
    // Sizes with and without a rest beyond whole vectors; every number is a short sum of powers of two.
    for length in [0usize, 1, 8, 1031] {
        steps(device, length).within(|| format!("{length} numbers"))?;
    }
    Ok(())
}

fn there_and_back<T: Tensor>(tensor: &T) -> Check {
    let precise = tensor.to_precise()?;
    require(precise.shape() == tensor.shape(), || "another shape")?;
    let expected: Vec<f64> = tensor.to_vec()?;
    same_bits(&expected, &precise.to_vec::<f64>()?).within(|| "to precise numbers")?;
    same_bits(&expected, &precise.to_precise()?.to_vec::<f64>()?).within(|| "twice")?;
    same_bits(&expected, &precise.to_working()?.to_vec::<f64>()?).within(|| "and back")?;
    // Operands of one kind go together.
    let doubled: Vec<f64> = expected.iter().map(|value| value + value).collect();
    same_bits(&doubled, &precise.binary(mfm_core::tensor::Binary::Add, &precise)?.to_vec::<f64>()?).within(|| "a sum of precise numbers")
}

fn steps<D: Device>(device: &D, length: usize) -> Check {
    const STEPS: u32 = 64;
    const SIZE: f64 = 1.0 / 4096.0;
    let of = |place: &D, value: f64| place.from_slice(&vec![value; length], shape(&[length]));
    let precise = device.precise();
    let (one, zero) = (of(&precise, 1.0)?, of(&precise, 0.0)?);
    let gradient = of(device, 1.0)?;
    // m and v keep what they were but for 2^-10 of it, θ̄ but for 2^-12 of the way.
    let step = OptimiserStep {
        first_decay: 0.0,
        second_decay: 1.0 - 1.0 / 1024.0,
        epsilon: None,
        size: SIZE,
        keep: 1.0,
        average_decay: 1.0 - SIZE,
    };
    let mut state = OptimiserState { parameters: one.clone(), first: zero, second: of(&precise, 2.0)?, average: Some(one) };
    let (mut second, mut average) = (2.0f64, 1.0f64);
    for k in 1..=STEPS {
        let OptimiserUpdate { state: next, working, sum } = step.apply(&state, &gradient)?;
        state = next;
        same_bits(&state.parameters.to_working()?.to_vec::<f64>()?, &working.to_vec::<f64>()?).within(|| "θ to work with")?;
        // It is one of the device's own.
        working.add(&gradient)?;
        let (sum, expected) = (sum.to_vec::<f64>()?[0], length as f64 * (1.0 - f64::from(k) * SIZE));
        require((sum - expected).abs() <= 1e-2 * expected, || format!("the sum of θ is {sum}, and should be {expected}"))?;
        second = step.second_decay * second + (1.0 - step.second_decay);
        average = step.average_decay * average + (1.0 - step.average_decay) * (1.0 - f64::from(k) * SIZE);
    }
    let parts = [
        ("θ", &state.parameters, 1.0 - f64::from(STEPS) * SIZE),
        ("v", &state.second, second),
        ("the average", state.average.as_ref().unwrap_or(&state.first), average),
    ];
    for (name, found, expected) in parts {
        let found: Vec<f64> = found.to_vec()?;
        let wrong = found.iter().find(|found| (**found - expected).abs() > 1e-5 || found.is_nan());
        require(wrong.is_none(), || format!("{name} is {wrong:?} after {STEPS} small steps, and should be {expected}"))?;
    }
    // θ is a number of the device's own, and goes back to it.
    let back: Vec<f64> = state.parameters.to_working()?.to_vec()?;
    require(back.iter().all(|back| (back - (1.0 - f64::from(STEPS) * SIZE)).abs() < 4e-3), || "θ did not come back")
}
