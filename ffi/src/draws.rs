//! Samples, posteriors, velocities and values.

use crate::backend::Backend;
use crate::bridge::ffi::{Draw, PosteriorOptions, Query, SampleOptions, ValueOptions};
use crate::failure::{Code, Failure, Result};
use crate::host::{Callbacks, HostReward, Watched, parts, progress};
use crate::model::rows;
use crate::session::{Input, Output, Run, condition, expect, write, written};
use mfm_core::categorical::effective_sample_size;
use mfm_core::error::Number;
use mfm_core::guidance::{estimate_value, gradient_of_draws};
use mfm_core::sample::{Sampler, posterior_by_steps};
use mfm_core::{Draws, Interpolant, Lift, MetaFlowMap, Noise, Shape, Tensor, TimeGrid};

impl Draw<'_> {
    /// The noise of a call.
    pub(crate) fn noise(&self) -> Noise {
        Noise::new(self.seed).stream(self.stream)
    }
}

/// The way to sample that the options ask for.
fn sampler(options: &SampleOptions<'_>, path: &dyn Interpolant) -> Result<Sampler> {
    let sampler = match options.method {
        0 => Sampler::steps(options.steps),
        1 => Sampler::refinement(options.steps),
        2 => Sampler::ode(options.steps),
        3 => Sampler::sde(options.steps),
        other => return Err(Failure::new(Code::Range, format!("there is no method {other} to sample by"))),
    };
    sampler.grid().times(path)?;
    Ok(sampler)
}

/// At most one label and one scale, as for samples of one law.
pub(crate) fn shared(draw: &Draw<'_>) -> Result<()> {
    if draw.labels.len() > 1 || draw.guidance.len() > 1 {
        return Err(Failure::new(Code::Length, "samples are of one condition: one label and one guidance scale at most"));
    }
    Ok(())
}

/// Checks that there are draws.
pub(crate) fn check_draws(draws: usize) -> Result<()> {
    if draws == 0 {
        return Err(Failure::new(Code::Range, "the number of draws is 0, but must be at least 1"));
    }
    Ok(())
}

/// How many evaluations a [`Watched`] map makes of one for the draws of all states.
pub(crate) fn evaluations(draws: &Draws, states: Shape) -> Result<usize> {
    let of_block = |(_, states_in_it): &(usize, usize)| parts(states_in_it.saturating_mul(draws.count), states.item());
    Ok(draws.blocks(states)?.iter().map(of_block).fold(0, usize::saturating_add))
}

/// The effective sample size of the draws of each state, where there is a place for it.
fn effective_sizes<T: Tensor>(weights: &T, place: &mut [f32]) -> Result<()> {
    if !place.is_empty() {
        let draws = weights.shape().item().max(1);
        let host = weights.to_vec::<f64>()?;
        place.iter_mut().zip(host.chunks_exact(draws)).for_each(|(place, weights)| *place = effective_sample_size(weights) as f32);
    }
    Ok(())
}

/// What a value may be: −∞ is that of a state all of whose draws are forbidden, which is no reason to refuse the others.
fn possible(value: f32) -> bool {
    value < f32::INFINITY
}

/// One label and one scale for each state, or one for all, or none.
fn of_states(draw: &Draw<'_>, states: usize) -> Result<()> {
    for (what, found) in [("labels", draw.labels.len()), ("guidance scales", draw.guidance.len())] {
        if found > 1 && found != states {
            return Err(Failure::new(
                Code::Length,
                format!("there are {found} {what}, but must be one, or one for each of {states} states"),
            ));
        }
    }
    Ok(())
}

/// Samples of the model.
///
/// # Errors
/// See `mfm_sample`.
pub fn sample<B: Backend>(run: &Run<B>, callbacks: &Callbacks<'_>, options: &SampleOptions<'_>, output: Output<'_>) -> Result<()> {
    let count = run.wanted(&output)?;
    shared(&options.draw)?;
    let flow = run.flow(options.draw.labels, options.draw.guidance)?;
    let sampler = sampler(options, flow.path)?;
    let (blocks, last) = (count / Sampler::BLOCK, count % Sampler::BLOCK);
    let item = run.dimension();
    let parts = blocks.saturating_mul(parts(Sampler::BLOCK, item)).saturating_add(if last == 0 { 0 } else { parts(last, item) });
    let map = Watched::new(flow.map, callbacks, sampler.evaluations().saturating_mul(parts));
    let flow = flow.with_map(&map);
    // What there is no room for in the end is refused before the first block is made.
    let all = run.shape(count)?;
    if count > Sampler::BLOCK {
        run.device.check_room(all)?;
    }
    if sampler.needs_jumps() {
        run.warn_of_jumps(callbacks, Some("sample it by MFM_METHOD_ODE or MFM_METHOD_SDE"));
    }
    callbacks.say(format_args!("{count} samples, {} network evaluations each", sampler.evaluations()));
    let noise = options.draw.noise();
    let blocks = sampler.blocks(&flow, &run.device, all, &noise).collect::<mfm_core::Result<Vec<B::Tensor>>>()?;
    let samples = match &blocks[..] {
        [one] => one.clone(),
        all => B::Tensor::concat(&all.iter().collect::<Vec<_>>(), 0)?,
    };
    run.deliver(&samples, output)
}

/// Draws of posteriors.
///
/// # Errors
/// See `mfm_posterior`.
pub fn posterior<B: Backend>(
    run: &Run<B>,
    callbacks: &Callbacks<'_>,
    states: Input<'_>,
    options: &PosteriorOptions<'_>,
    output: Output<'_>,
) -> Result<()> {
    let states = run.input(states)?;
    let &PosteriorOptions { draw, time, draws, steps } = options;
    check_draws(draws)?;
    match &output {
        Output::Span(place) => expect(place.len(), states.shape().elements().checked_mul(draws), "the draws")?,
        Output::DlPack(..) => {
            run.device.check_export()?;
            run.device.check_room(run.shape(states.shape().batch().saturating_mul(draws))?)?;
        }
    }
    mfm_core::interpolant::check_time("the time of the states", time)?;
    of_states(&draw, states.shape().batch())?;
    let flow = run.flow(draw.labels, draw.guidance)?;
    let (draws, grid, noise) = (Draws::new(draws), TimeGrid::uniform(steps), draw.noise());
    let map = Watched::new(flow.map, callbacks, steps.saturating_mul(evaluations(&draws, states.shape())?));
    let flow = flow.with_map(&map);
    run.warn_of_jumps(callbacks, None);
    callbacks.say(format_args!("{} draws of the posterior of each of {} states at t = {time}", draws.count, states.shape().batch()));
    let [made] = draws.for_blocks(&flow, &states, |flow, block, part| {
        Ok([posterior_by_steps(flow, &grid, &draws.noise(&noise, part, block)?, time, part)?])
    })?;
    run.deliver(&made, output)
}

/// The average velocity.
///
/// # Errors
/// See `mfm_velocity`.
pub fn velocity<B: Backend>(run: &Run<B>, query: &Query<'_>, x: &[f32], states: &[f32], velocity: &mut [f32]) -> Result<()> {
    expect(velocity.len(), Some(x.len()), "the velocity")?;
    let &Query { s, u, t, labels, guidance } = query;
    for (what, time) in [("the time s", s), ("the time u", u), ("the time of the states", t)] {
        mfm_core::interpolant::check_time(what, time)?;
    }
    if s > u {
        return Err(Failure::new(Code::Range, format!("the time s is {}, after u, which is {}", Number(s), Number(u))));
    }
    run.flow(labels, guidance)?;
    let (x, states) = (run.items(x, "x")?, run.items(states, "the states")?);
    let time = |time| run.device.full(time, Shape::new(&[1])?);
    let query = mfm_core::Query { s: time(s)?, u: time(u)?, x, t: time(t)?, x_t: states, condition: condition(labels, guidance) };
    let made = run.loaded.coordinates().leave_velocity(&run.loaded.model.velocity(&query)?)?;
    write::<B>(&made, velocity, "the velocity")
}

/// The value of states, its gradient if `gradients` are asked for, and effective sample sizes if there is a place for them.
///
/// # Errors
/// See `mfm_value`.
pub fn value<B: Backend>(
    run: &Run<B>,
    callbacks: &Callbacks<'_>,
    states: &[f32],
    options: &ValueOptions<'_>,
    values: &mut [f32],
    gradients: Option<&mut [f32]>,
    sizes: &mut [f32],
) -> Result<()> {
    let count = rows(states.len(), run.dimension(), "the states")?;
    expect(values.len(), Some(count), "the values")?;
    if !sizes.is_empty() {
        expect(sizes.len(), Some(count), "the effective sample sizes")?;
    }
    let &ValueOptions { draw, time, draws } = options;
    of_states(&draw, count)?;
    check_draws(draws)?;
    let flow = run.flow(draw.labels, draw.guidance)?;
    let (states_length, states) = (states.len(), run.items(states, "the states")?);
    let reward = HostReward::new(callbacks, &run.device).of_draws(count, draws);
    let reward = run.loaded.coordinates().reward(reward);
    run.warn_of_jumps(callbacks, None);
    callbacks.say(format_args!("the value of {count} states at t = {time} by {draws} draws each"));
    let (draws, noise) = (Draws::new(draws), draw.noise());
    let Some(place) = gradients else {
        let map = Watched::new(flow.map, callbacks, evaluations(&draws, states.shape())?);
        let flow = flow.with_map(&map);
        let found = estimate_value(&flow, &reward, time, &states, draws, &noise)?;
        let value = written::<B>(&found.value, values.len(), possible, "the value")?;
        effective_sizes(&found.weights, sizes)?;
        values.copy_from_slice(&value);
        return Ok(());
    };
    expect(place.len(), Some(states_length), "the gradients")?;
    mfm_core::interpolant::check_time("t", time)?;
    // As `estimate_value_gradient` has it, block by block: what is lifted cannot be watched, so the host is told of each block.
    let frozen = flow.map.frozen()?;
    let (blocks, mut made) = (draws.blocks(states.shape())?.len(), 0);
    let [value, gradient, weights] = draws.for_blocks(&flow.with_map(&frozen), &states, |flow, block, part| {
        let found = gradient_of_draws(flow, &reward, time, part, &draws.noise(&noise, part, block)?)?;
        made += 1;
        callbacks.step(&progress(made, blocks))?;
        Ok([found.value, found.gradient, found.weights])
    })?;
    let gradient = run.loaded.coordinates().leave_gradient(&gradient)?;
    // All are written, or none.
    let (value, gradient) = (
        written::<B>(&value, values.len(), possible, "the value")?,
        written::<B>(&gradient, place.len(), f32::is_finite, "the value's gradient")?,
    );
    effective_sizes(&weights, sizes)?;
    values.copy_from_slice(&value);
    place.copy_from_slice(&gradient);
    Ok(())
}
