//! Steering and search, with the defaults of the commands `mfm steer`.

use crate::backend::Backend;
use crate::bridge::ffi::{Progress, SearchOptions, SteerOptions};
use crate::draws::{check_draws, shared};
use crate::failure::{Code, Failure, Result};
use crate::host::{Callbacks, HostReward, Watched, progress};
use crate::model::rows;
use crate::session::{Output, Run, expect};
use mfm_core::coupling::Coupling;
use mfm_core::plan::{Diagnostics, Estimator, Plan, PlanOption};
use mfm_core::search::{Keep, Search};
use mfm_core::steer::{Dynamics, Scheme};
use mfm_core::{Draws, TimeGrid};

/// The estimator of this number, as `mfm_estimator` has it. A search is a call of its own.
///
/// # Errors
/// [`Code::Range`] for a number of none.
pub fn estimator(number: u32) -> Result<Estimator> {
    match number {
        0 => Ok(Estimator::Unsteered),
        1 => Ok(Estimator::Dps),
        2 => Ok(Estimator::MfmG),
        3 => Ok(Estimator::MfmGf),
        4 => Ok(Estimator::Resampled),
        5 => Ok(Estimator::Mcmc),
        6 => Ok(Estimator::BestOfN),
        7 => Ok(Estimator::Smc),
        8 => Ok(Estimator::MfmSmc),
        _ => refuse(format!("there is no estimator {number}")),
    }
}

fn coupling(number: u32) -> Result<Coupling> {
    match number {
        0 => Ok(Coupling::Bridge),
        1 => Ok(Coupling::SameNoise),
        2 => Ok(Coupling::FreshNoise),
        _ => refuse(format!("there is no coupling {number}")),
    }
}

/// A number that is off at zero.
fn off_at_zero(number: f64) -> Option<f64> {
    Some(number).filter(|number| *number != 0.0)
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Failure::new(Code::Range, message))
}

/// Checks that the estimator reads every option that is not as it is by default.
fn are_of_use(options: &SteerOptions<'_>, plan: &Plan) -> Result<()> {
    let (estimator, usual) = (plan.estimator, Plan::usual(plan.estimator));
    let moves = Plan::usual(Estimator::Mcmc).moves;
    let all = [
        ("draws", options.draws != 0, PlanOption::Draws),
        ("moves", plan.moves != moves, PlanOption::Moves),
        ("coupling", plan.coupling != usual.coupling, PlanOption::Coupling),
        ("sde", options.sde, PlanOption::Dynamics),
        ("heun", options.heun, PlanOption::Scheme),
        ("start", plan.start != usual.start, PlanOption::Start),
        ("window_start", plan.window.start() != usual.window.start(), PlanOption::Window),
        ("window_end", plan.window.end() != usual.window.end(), PlanOption::Window),
        ("damping", plan.damping != usual.damping, PlanOption::Damping),
        ("rescale", plan.rescale != usual.rescale, PlanOption::Rescale),
        ("clip", plan.clip != usual.clip, PlanOption::Clip),
        ("threshold", plan.threshold != usual.threshold, PlanOption::Threshold),
    ];
    match plan.unread(&all) {
        Some(option) => {
            let (whose, way) = (estimator.name(), estimator.way(plan.dynamics));
            refuse(format!("{option}: it makes no difference to the estimator {whose}{way}"))
        }
        None => Ok(()),
    }
}

/// The plan of the host's options, its defaults filled in.
fn plan(options: &SteerOptions<'_>) -> Result<Plan> {
    let &SteerOptions { start, window_start, window_end, damping, power, moves, threshold, .. } = options;
    let estimator = estimator(options.estimator)?;
    let or_usual = |given: usize, usual: usize| if given == 0 { usual } else { given };
    let usual = Plan::usual(estimator);
    let plan = Plan {
        moves,
        dynamics: if options.sde { Dynamics::Sde } else { Dynamics::Ode },
        scheme: if options.heun { Scheme::Heun } else { Scheme::Euler },
        start,
        power,
        window: window_start..=window_end,
        damping,
        rescale: off_at_zero(options.rescale),
        clip: off_at_zero(options.clip),
        coupling: coupling(options.coupling)?,
        threshold,
        ..Plan::new(estimator, or_usual(options.draws, usual.draws), or_usual(options.steps, usual.steps))
    };
    plan.check()?;
    are_of_use(options, &plan)?;
    Ok(plan)
}

/// What a step tells the host.
fn progress_of(step: &Diagnostics, steps: usize) -> Progress {
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
    let reward = HostReward::new(callbacks, &run.device);
    let reward = match plan.estimator {
        // These ask for the draws of all samples in their order, at each time.
        Estimator::MfmG | Estimator::MfmGf | Estimator::Resampled | Estimator::BestOfN => reward.of_draws(count, plan.draws),
        Estimator::Smc | Estimator::MfmSmc => reward.of_particles(),
        _ => reward,
    };
    let of_samples = run.loaded.coordinates().reward(&reward);
    let draws = if plan.estimator.has_draws() { format!(", {} draws", plan.draws) } else { String::new() };
    if plan.estimator.has_draws() {
        run.warn_of_jumps(callbacks, Some("steer it by MFM_DPS or MFM_SEQUENTIAL_MONTE_CARLO"));
    }
    callbacks.say(format_args!("steering {count} samples by {}, {} steps{draws}", plan.estimator.name(), plan.steps));
    let noise = options.draw.noise();
    let x = mfm_core::Device::normal(&run.device, &noise.fork(0), run.shape(count)?)?;
    let noise = noise.fork(1);
    // Guides are led by what is allowed anywhere on the way; those who choose, by what is in the last step, and the best of several by all of their samples.
    let by_all = matches!(plan.estimator, Estimator::Dps | Estimator::MfmG | Estimator::MfmGf | Estimator::BestOfN);
    let (mut allowed, steps) = (None, plan.reports(run.shape(count)?)?);
    let mut on_step = |step: Diagnostics| {
        allowed = reward.take_allowed().max(if by_all { allowed } else { None });
        callbacks.step(&progress_of(&step, steps))
    };
    let map = Watched::within_steps(flow.map, callbacks, steps);
    let samples = plan.run(&flow.with_map(&map), &of_samples, &x, &noise, &mut on_step)?;
    if allowed.max(reward.take_allowed()) == Some(false) {
        return Err(Failure::new(Code::NotFinite, "the reward is -infinity for all that could have become a sample"));
    }
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
    check_draws(options.draws)?;
    let flow = run.flow(options.draw.labels, options.draw.guidance)?;
    let map = Watched::within_steps(flow.map, callbacks, options.steps);
    let flow = flow.with_map(&map);
    let reward = HostReward::new(callbacks, &run.device).of_draws(particles, options.draws);
    let reward = run.loaded.coordinates().reward(reward);
    let grid = TimeGrid { power: options.power, ..TimeGrid::uniform(options.steps) };
    let keep = if options.keep_overall { Keep::Overall } else { Keep::PerParticle };
    let search = Search { grid, draws: Draws::new(options.draws), keep, coupling: coupling(options.coupling)? };
    run.warn_of_jumps(callbacks, None);
    callbacks.say(format_args!("searching with {particles} particles, {} times, {} draws", options.steps, options.draws));
    let noise = options.draw.noise();
    let x = mfm_core::Device::normal(&run.device, &noise.fork(0), run.shape(particles)?)?;
    let found = search.run(&flow, &reward, &x, &noise.fork(1), &mut |index, best_reward| {
        callbacks.step(&Progress { best_reward, ..progress(index + 1, options.steps) })
    })?;
    run.write_samples(&found.samples, samples, "the samples")?;
    rewards.iter_mut().zip(&found.rewards).for_each(|(place, reward)| *place = *reward as f32);
    Ok(())
}
