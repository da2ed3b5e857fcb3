//! A step of an optimiser, native or composed, is the step of the formula.

use super::host::same_bits;
use super::{judge, judge_failed};
use crate::conformance::case::shape;
use crate::conformance::failure::{Check, Within, require};
use crate::conformance::input::{Domain, Input, LAYOUTS, Layout};
use crate::conformance::tolerances::Tolerances;
use mfm_core::tensor::{OptimiserState, OptimiserStep, OptimiserUpdate};
use mfm_core::{Device, Error, Result, Tensor};

/// Beyond what one block of threads takes, with a rest.
const LONG: [usize; 1] = [4099];

/// Factors that every device holds exactly, and those of Adam, of which most hold none; with a division by √v + ε and without.
const STEPS: [OptimiserStep; 4] = [
    OptimiserStep { first_decay: 0.875, second_decay: 0.75, epsilon: Some(0.25), size: 0.5, keep: 0.96875, average_decay: 0.625 },
    OptimiserStep { first_decay: 0.875, second_decay: 0.75, epsilon: None, size: 0.5, keep: 0.96875, average_decay: 0.625 },
    OptimiserStep { first_decay: 0.9, second_decay: 0.999, epsilon: Some(1e-8), size: 3e-4, keep: 1.0 - 3e-6, average_decay: 0.9 },
    OptimiserStep { first_decay: 0.9, second_decay: 0.999, epsilon: None, size: 3e-4, keep: 1.0 - 3e-6, average_decay: 0.9 },
];

/// A state to begin with.
#[derive(Clone, Copy, Debug)]
struct Start<'a> {
    axes: &'a [usize],
    layout: Layout,
    averaged: bool,
    /// Whether the moments are zero, as before the first step, and so afterwards of the gradient alone.
    first: bool,
}

impl Start<'_> {
    /// The state, and a gradient.
    fn build<D: Device>(&self, device: &D) -> Result<(OptimiserState<D::Tensor>, D::Tensor)> {
        let build = |domain, seed| Input::new(shape(self.axes), domain).build(device, self.layout, seed);
        let moment = |domain, seed| if self.first { device.zeros(shape(self.axes)) } else { build(domain, seed) };
        let average = self.averaged.then(|| build(Domain::Any, 5)).transpose()?;
        let (first, second) = (moment(Domain::Any, 2)?, moment(Domain::Positive, 3)?);
        Ok((OptimiserState { parameters: build(Domain::Any, 1)?, first, second, average }, build(Domain::Any, 4)?))
    }
}

/// The first step, with an average that hardly moves: m and v are (1 − β) times g and g², with 1 − β of the β that was given, not of one that was rounded, and
/// so is θ̄ where it was zero.
pub(super) fn first_steps<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let start = Start { axes: &LONG, layout: Layout::Contiguous, averaged: true, first: true };
    STEPS.iter().try_for_each(|step| {
        let step = OptimiserStep { average_decay: 0.9999, ..*step };
        one(device, tolerances, &step, start).within(|| format!("{start:?}, {step:?}"))
    })
}

/// The parts of a state, with and without a moving average; from every layout, of sizes that are no multiple of anything. What was
/// given is left as it was, and a second time gives the same bits. A gradient of another shape is refused.
///
/// # Errors
/// The first difference.
pub fn optimiser<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let shapes: [&[usize]; 6] = [&[], &[0], &[1], &[7], &[3, 5], &[1031]];
    let layouts = shapes.into_iter().flat_map(|axes| LAYOUTS.map(|layout| (axes, layout))).chain([(&LONG[..], Layout::Contiguous)]);
    for (axes, layout) in layouts {
        for (averaged, step) in [true, false].into_iter().flat_map(|averaged| STEPS.map(|step| (averaged, step))) {
            let start = Start { axes, layout, averaged, first: false };
            one(device, tolerances, &step, start).within(|| format!("{start:?}, {step:?}"))?;
        }
    }
    not_finite(device)?;
    let of = |axes| Start { axes, layout: Layout::Contiguous, averaged: false, first: false }.build(device);
    let refused = STEPS[0].apply(&of(&[7])?.0, &of(&[3, 5])?.1);
    require(matches!(refused, Err(Error::Shape { .. })), || "a gradient of another shape was taken")
}

/// The tensors of a state, each with its name.
fn parts<T>(state: &OptimiserState<T>) -> impl Iterator<Item = (&'static str, &T)> {
    let parts =
        [("θ", Some(&state.parameters)), ("m", Some(&state.first)), ("v", Some(&state.second)), ("the average", state.average.as_ref())];
    parts.into_iter().filter_map(|(name, part)| part.map(|part| (name, part)))
}

fn one<D: Device>(device: &D, tolerances: &Tolerances, step: &OptimiserStep, start: Start<'_>) -> Check {
    let (state, gradient) = start.build(device)?;
    let given = || -> Result<Vec<Vec<f64>>> { parts(&state).map(|(_, part)| part).chain([&gradient]).map(Tensor::to_vec).collect() };
    let before = given()?;
    let OptimiserUpdate { state: after, working, sum } = step.apply(&state, &gradient)?;
    let (exact, exact_gradient) = start.build(&judge(tolerances)).map_err(judge_failed)?;
    let OptimiserUpdate { state: expected, sum: expected_sum, .. } = step.apply(&exact, &exact_gradient).map_err(judge_failed)?;
    tolerances.agree(&expected_sum, &sum).within(|| "the sum of θ")?;
    let rounded: Vec<f64> = after.parameters.to_working()?.to_vec()?;
    require(working.to_vec::<f64>()? == rounded, || "θ to work with is not θ, rounded")?;
    require(expected.average.is_some() == after.average.is_some(), || "there is an average where there was none, or the reverse")?;
    for ((name, expected), (_, after)) in parts(&expected).zip(parts(&after)) {
        tolerances.agree(expected, after).within(|| name)?;
    }
    before.iter().zip(given()?).try_for_each(|(before, now)| same_bits(before, &now)).within(|| "what the step was given")?;
    let again = step.apply(&state, &gradient)?;
    for ((name, first), (_, again)) in parts(&after).chain([("the sum of θ", &sum)]).zip(parts(&again.state).chain([("", &again.sum)])) {
        same_bits(&first.to_vec::<f64>()?, &again.to_vec::<f64>()?).within(|| format!("{name}, a second time"))?;
    }
    Ok(())
}

/// A parameter that is not finite, wherever it is, makes the sum so.
fn not_finite<D: Device>(device: &D) -> Check {
    let [long] = LONG;
    (0..70).try_for_each(|place| not_finite_at(device, 70, place))?;
    [0, 1024, long / 2, long - 1].into_iter().try_for_each(|place| not_finite_at(device, long, place))
}

fn not_finite_at<D: Device>(device: &D, length: usize, place: usize) -> Check {
    let step = OptimiserStep { first_decay: 0.0, second_decay: 0.0, epsilon: None, size: 1.0, keep: 1.0, average_decay: 0.0 };
    let of = |values: &[f64]| device.from_slice(values, shape(&[length]))?.to_precise();
    let zeros = of(&vec![0.0; length])?;
    let state = OptimiserState { parameters: zeros.clone(), first: zeros.clone(), second: zeros, average: None };
    for value in [f64::NAN, f64::INFINITY] {
        let mut gradient = vec![1.0; length];
        gradient[place] = value;
        let sum: Vec<f64> = step.apply(&state, &of(&gradient)?)?.sum.to_vec()?;
        require(!sum[0].is_finite(), || format!("the sum of θ is {} where entry {place} is {value}", sum[0]))?;
    }
    Ok(())
}
