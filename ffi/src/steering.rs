//! Steering and search, with the defaults of the commands `mfm steer`.

use crate::backend::Backend;
use crate::bridge::ffi::{Progress, SearchOptions, SteerOptions};
use crate::draws::shared;
use crate::failure::{Code, Failure, Result};
use crate::host::{Callbacks, HostReward, Watched, progress};
use crate::model::rows;
use crate::session::{Output, Run, expect, write};
use mfm_core::plan::{Diagnostics, Estimator, Plan};
use mfm_core::resample::Coupling;
use mfm_core::search::{Keep, Search};
use mfm_core::steer::{Dynamics, Scheme};
use mfm_core::{Draws, Flow, TimeGrid};

fn coupling(number: u32) -> Result<Coupling> {
    match number {
        0 => Ok(Coupling::Bridge),
        1 => Ok(Coupling::SameNoise),
        2 => Ok(Coupling::FreshNoise),
        _ => Err(Failure::new(Code::Range, format!("there is no coupling {number}"))),
    }
}

/// A number that is off at zero.
fn option(number: f64, what: &str) -> Result<Option<f64>> {
    match number {
        0.0 => Ok(None),
        number if number > 0.0 && number.is_finite() => Ok(Some(number)),
        _ => Err(Failure::new(Code::Range, format!("{what} is {number}, but must be positive, or 0 for none"))),
    }
}

/// The plan of the host's options, its defaults filled in.
fn plan(options: &SteerOptions<'_>) -> Result<Plan> {
    let &SteerOptions { estimator, start, window_start, window_end, damping, power, moves, threshold, .. } = options;
    // In the order of `mfm_estimator`. A search is a call of its own.
    let known = Estimator::ALL.get(estimator as usize).copied().filter(|estimator| *estimator != Estimator::Search);
    let estimator = known.ok_or_else(|| Failure::new(Code::Range, format!("there is no estimator {estimator}")))?;
    if !(damping >= 0.0 && damping.is_finite()) {
        return Err(Failure::new(Code::Range, format!("the damping is {damping}, but must be at least 0 and finite")));
    }
    let or_usual = |given: usize, usual: usize| if given == 0 { usual } else { given };
    let (steps, draws) = estimator.usual();
    Ok(Plan {
        moves,
        dynamics: if options.sde { Dynamics::Sde } else { Dynamics::Ode },
        scheme: if options.heun { Scheme::Heun } else { Scheme::Euler },
        start,
        power,
        window: window_start..=window_end,
        damping,
        rescale: option(options.rescale, "the rescaling")?,
        clip: option(options.clip, "the clipping")?,
        coupling: coupling(options.coupling)?,
        threshold,
        ..Plan::new(estimator, or_usual(options.draws, draws), or_usual(options.steps, steps))
    })
}

/// What a step tells the host.
fn told(step: &Diagnostics, steps: usize) -> Progress {
    let known = |value: Option<f64>| value.unwrap_or(f64::NAN);
    Progress {
        effective_sample_size: known(step.effective_sample_size),
        largest_weight: known(step.largest_weight),
        correction_norm: known(step.correction_norm),
        acceptance: known(step.acceptance),
        best_reward: known(step.best_reward),
        ..progress(step.step, steps)
    }
}

/// Samples aimed at the host's reward.
///
/// # Errors
/// See `mfm_steer`.
pub fn steer<B: Backend>(run: &Run<B>, callbacks: &Callbacks<'_>, options: &SteerOptions<'_>, output: Output<'_>) -> Result<()> {
    let count = run.wanted(&output)?;
    shared(&options.draw)?;
    let plan = plan(options)?;
    if plan.estimator.needs_gradient() && !callbacks.has_gradient() {
        let message = "this estimator needs the reward's gradient, which this reward does not offer";
        return Err(Failure::new(Code::Unsupported, message));
    }
    let flow = run.flow(options.draw.labels, options.draw.guidance)?;
    let reward = run.model.coordinates().reward(HostReward::new(callbacks, &run.device));
    callbacks.say(format_args!("steering {count} samples by {}, {} steps, {} draws", plan.estimator.name(), plan.steps, plan.draws));
    let noise = options.draw.noise();
    let x = mfm_core::Device::normal(&run.device, &noise.fork(0), run.shape(count)?)?;
    let noise = noise.fork(1);
    let mut on_step = |step: Diagnostics| callbacks.step(&told(&step, plan.steps));
    let samples = if plan.estimator == Estimator::BestOfN {
        // It has no steps of its own: the host is told of each evaluation.
        let map = Watched::new(flow.map, callbacks, plan.steps.saturating_mul(Draws::new(plan.draws).blocks(run.shape(count)?)?.len()));
        plan.run(&Flow { map: &map, path: flow.path, condition: flow.condition }, &reward, &x, &noise, &mut on_step)?
    } else {
        plan.run(&flow, &reward, &x, &noise, &mut on_step)?
    };
    run.deliver(&samples, output)
}

/// The best of many draws.
///
/// # Errors
/// See `mfm_search`.
pub fn search<B: Backend>(
    run: &Run<B>,
    callbacks: &Callbacks<'_>,
    options: &SearchOptions<'_>,
    samples: &mut [f32],
    rewards: &mut [f32],
) -> Result<()> {
    let particles = rows(samples.len(), run.dimension(), "the output")?;
    expect(rewards.len(), Some(particles), "the rewards")?;
    shared(&options.draw)?;
    let flow = run.flow(options.draw.labels, options.draw.guidance)?;
    let reward = run.model.coordinates().reward(HostReward::new(callbacks, &run.device));
    let grid = TimeGrid { power: options.power, ..TimeGrid::uniform(options.steps) };
    let keep = if options.keep_overall { Keep::Overall } else { Keep::PerParticle };
    let search = Search { grid, draws: Draws::new(options.draws), keep, coupling: coupling(options.coupling)? };
    callbacks.say(format_args!("searching with {particles} particles, {} times, {} draws", options.steps, options.draws));
    let noise = options.draw.noise();
    let x = mfm_core::Device::normal(&run.device, &noise.fork(0), run.shape(particles)?)?;
    let found = search.run(&flow, &reward, &x, &noise.fork(1), &mut |index, best_reward| {
        callbacks.step(&Progress { best_reward, ..progress(index + 1, options.steps) })
    })?;
    write::<B>(&run.model.coordinates().leave(&found.samples)?, samples, "the samples")?;
    rewards.iter_mut().zip(&found.rewards).for_each(|(place, reward)| *place = *reward as f32);
    Ok(())
}
