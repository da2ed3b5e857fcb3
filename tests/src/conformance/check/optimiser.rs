//! A step of an optimiser, native or composed, is the step of the formula.

use super::{judge, judge_failed};
use crate::conformance::case::shape;
use crate::conformance::failure::{Check, Within, require};
use crate::conformance::input::{Domain, Input, LAYOUTS, Layout};
use crate::conformance::tolerances::Tolerances;
use mfm_core::tensor::{OptimiserState, OptimiserStep, OptimiserUpdate};
use mfm_core::{Device, Error, Result, Tensor};

/// The parts of a state, with and without a moving average, and with and without a division by √v + ε; from every layout, of sizes that are no multiple
/// of anything. A gradient of another shape is refused.
///
/// # Errors
/// The first difference.
pub fn optimiser<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let shapes: [&[usize]; 6] = [&[], &[0], &[1], &[7], &[3, 5], &[1031]];
    for (axes, layout) in shapes.into_iter().flat_map(|axes| LAYOUTS.map(|layout| (axes, layout))) {
        for (epsilon, averaged) in [(Some(0.25), true), (Some(0.25), false), (None, true), (None, false)] {
            let step = OptimiserStep { first_decay: 0.875, second_decay: 0.75, epsilon, size: 0.5, keep: 0.96875, average_decay: 0.625 };
            let place = || format!("{axes:?}, {layout:?}, ε {epsilon:?}, averaged: {averaged}");
            let (state, gradient) = state(device, axes, layout, averaged).within(place)?;
            let OptimiserUpdate { state: after, working, sum } = step.apply(&state, &gradient).within(place)?;
            let (state, gradient) = self::state(&judge(tolerances), axes, layout, averaged).map_err(judge_failed)?;
            let OptimiserUpdate { state: expected, sum: expected_sum, .. } = step.apply(&state, &gradient).map_err(judge_failed)?;
            tolerances.agree(&expected_sum, &sum).within(|| "the sum of θ").within(place)?;
            let rounded: Vec<f64> = after.parameters.to_working()?.to_vec()?;
            require(working.to_vec::<f64>()? == rounded, || "θ to work with is not θ, rounded").within(place)?;
            let parts = [
                ("θ", &expected.parameters, &after.parameters),
                ("m", &expected.first, &after.first),
                ("v", &expected.second, &after.second),
            ];
            for (name, expected, after) in parts {
                tolerances.agree(expected, after).within(|| name).within(place)?;
            }
            match (&expected.average, &after.average) {
                (Some(expected), Some(after)) => tolerances.agree(expected, after).within(|| "the average").within(place)?,
                (None, None) => {}
                _ => require(false, || "there is an average where there was none, or the reverse").within(place)?,
            }
        }
    }
    not_finite(device)?;
    let (state, _) = state(device, &[7], Layout::Contiguous, false)?;
    let (_, other) = self::state(device, &[3, 5], Layout::Contiguous, false)?;
    let step = OptimiserStep { first_decay: 0.9, second_decay: 0.99, epsilon: None, size: 1.0, keep: 1.0, average_decay: 0.0 };
    require(matches!(step.apply(&state, &other), Err(Error::Shape { .. })), || "a gradient of another shape was taken")
}

/// A parameter that is not finite, wherever it is, makes the sum so.
fn not_finite<D: Device>(device: &D) -> Check {
    const LENGTH: usize = 70;
    let step = OptimiserStep { first_decay: 0.0, second_decay: 0.0, epsilon: None, size: 1.0, keep: 1.0, average_decay: 0.0 };
    let of = |values: &[f64]| device.from_slice(values, shape(&[LENGTH]))?.to_precise();
    let zeros = of(&[0.0; LENGTH])?;
    let state = OptimiserState { parameters: zeros.clone(), first: zeros.clone(), second: zeros, average: None };
    for (place, value) in (0..LENGTH).flat_map(|place| [(place, f64::NAN), (place, f64::INFINITY)]) {
        let mut gradient = [1.0; LENGTH];
        gradient[place] = value;
        let sum: Vec<f64> = step.apply(&state, &of(&gradient)?)?.sum.to_vec()?;
        require(!sum[0].is_finite(), || format!("the sum of θ is {} where entry {place} is {value}", sum[0]))?;
    }
    Ok(())
}

/// A state, and a gradient.
fn state<D: Device>(device: &D, axes: &[usize], layout: Layout, averaged: bool) -> Result<(OptimiserState<D::Tensor>, D::Tensor)> {
    let build = |domain, seed| Input::new(shape(axes), domain).build(device, layout, seed);
    let average = averaged.then(|| build(Domain::Any, 5)).transpose()?;
    let state =
        OptimiserState { parameters: build(Domain::Any, 1)?, first: build(Domain::Any, 2)?, second: build(Domain::Positive, 3)?, average };
    Ok((state, build(Domain::Any, 4)?))
}
