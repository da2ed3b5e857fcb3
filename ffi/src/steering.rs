//! Steering and search, with the defaults of the commands `mfm steer`.

use crate::backend::Backend;
use crate::bridge::ffi::{Progress, SearchOptions, SteerOptions};
use crate::draws::shared;
use crate::failure::{Code, Failure, Result};
use crate::host::{Callbacks, HostReward, Watched, progress};
use crate::model::rows;
use crate::session::{Output, Run, deliver, expect, write};
use mfm_core::baseline::{Potential, SequentialMonteCarlo, best_of};
use mfm_core::guidance::{Adjusted, Concentration, Dps, Guide, MfmGradient, MfmGradientFree, Unsteered};
use mfm_core::posterior_mcmc::{PosteriorMcmc, steer_by_mcmc};
use mfm_core::resample::{Coupling, Resampling, steer_by_resampling};
use mfm_core::search::{Keep, Search};
use mfm_core::steer::{Dynamics, Scheme, Steering, steer as integrate};
use mfm_core::{Draws, Flow, Noise, TimeGrid};

/// The estimators of `mfm_estimator`, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Estimator {
    Unsteered,
    Dps,
    Gradient,
    GradientFree,
    Resampled,
    Mcmc,
    BestOfN,
    SequentialMonteCarlo,
}

impl Estimator {
    fn new(number: u32) -> Result<Self> {
        use Estimator::{BestOfN, Dps, Gradient, GradientFree, Mcmc, Resampled, SequentialMonteCarlo, Unsteered};
        let all = [Unsteered, Dps, Gradient, GradientFree, Resampled, Mcmc, BestOfN, SequentialMonteCarlo];
        let unknown = || Failure::new(Code::Range, format!("there is no estimator {number}"));
        all.get(number as usize).copied().ok_or_else(unknown)
    }

    /// The usual steps and draws.
    fn usual(self) -> (usize, usize) {
        match self {
            Self::Unsteered | Self::Dps | Self::Gradient | Self::GradientFree | Self::SequentialMonteCarlo => (100, 16),
            Self::BestOfN => (1, 16),
            Self::Resampled => (8, 32),
            Self::Mcmc => (16, 8),
        }
    }

    fn needs_gradient(self) -> bool {
        matches!(self, Self::Dps | Self::Gradient | Self::Mcmc | Self::SequentialMonteCarlo)
    }
}

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

/// One run, its defaults filled in.
struct Plan<'a, 'b, B: Backend> {
    run: &'a Run<B>,
    flow: Flow<'a, mfm_nn::Model<B::Tensor>>,
    reward: &'a HostReward<'a, B>,
    callbacks: &'a Callbacks<'a>,
    options: &'a SteerOptions<'b>,
    steps: usize,
    draws: Draws,
}

impl<B: Backend> Plan<'_, '_, B> {
    fn grid(&self) -> TimeGrid {
        TimeGrid { power: self.options.power, ..TimeGrid::uniform(self.steps) }
    }

    fn concentrated(&self, index: usize, weights: Concentration) -> mfm_core::Result<()> {
        let Concentration { effective_sample_size, largest_weight } = weights;
        self.callbacks.step(&Progress { effective_sample_size, largest_weight, ..progress(index + 1, self.steps) })
    }

    fn run(&self, estimator: Estimator, x: &B::Tensor, noise: &Noise) -> Result<B::Tensor> {
        let (flow, reward, draws) = (&self.flow, self.reward, self.draws);
        let &SteerOptions { moves, threshold, .. } = self.options;
        let coupling = coupling(self.options.coupling)?;
        match estimator {
            Estimator::Unsteered => self.guided(Unsteered, x, noise),
            Estimator::Dps => self.guided(Dps { reward }, x, noise),
            Estimator::Gradient => self.guided(MfmGradient { reward, draws }, x, noise),
            Estimator::GradientFree => self.guided(MfmGradientFree { reward, draws }, x, noise),
            Estimator::Resampled => {
                let resampling = Resampling { grid: self.grid(), draws, coupling };
                Ok(steer_by_resampling(flow, reward, &resampling, x, noise, &mut |index, weights| self.concentrated(index, weights))?)
            }
            Estimator::Mcmc => {
                let mcmc = PosteriorMcmc { grid: self.grid(), fresh: draws, coupling, ..PosteriorMcmc::new(self.steps, moves) };
                Ok(steer_by_mcmc(flow, reward, &mcmc, x, noise, &mut |report| {
                    self.callbacks.step(&Progress { acceptance: report.acceptance, ..progress(report.index + 1, self.steps) })
                })?)
            }
            Estimator::BestOfN => {
                let shape = mfm_core::Tensor::shape(x);
                let map = Watched::new(flow.map, self.callbacks, self.steps.saturating_mul(draws.blocks(shape.batch())?.len()));
                let flow = Flow { map: &map, path: flow.path, condition: flow.condition };
                Ok(best_of(&self.run.device, &flow, reward, &self.grid(), draws, shape, noise)?)
            }
            Estimator::SequentialMonteCarlo => {
                let grid = self.grid().from(self.options.start);
                let population = SequentialMonteCarlo { grid, potential: Potential::PosteriorMean, threshold };
                Ok(population.run(flow, reward, &Dps { reward }, x, noise, &mut |generation| {
                    let effective_sample_size = generation.effective_sample_size;
                    self.callbacks.step(&Progress { effective_sample_size, ..progress(generation.index + 1, self.steps) })
                })?)
            }
        }
    }

    /// The ODE or SDE under a guide.
    fn guided(&self, guide: impl Guide<B::Tensor, mfm_nn::Model<B::Tensor>>, x: &B::Tensor, noise: &Noise) -> Result<B::Tensor> {
        let &SteerOptions { sde, heun, start, window_start, window_end, damping, rescale, clip, .. } = self.options;
        if !(damping >= 0.0 && damping.is_finite()) {
            return Err(Failure::new(Code::Range, format!("the damping is {damping}, but must be at least 0 and finite")));
        }
        let (rescale, clip) = (option(rescale, "the rescaling")?, option(clip, "the clipping")?);
        let guide = Adjusted { guide, window: window_start..=window_end, damping, rescale, clip };
        let dynamics = if sde { Dynamics::Sde } else { Dynamics::Ode };
        let scheme = if heun { Scheme::Heun } else { Scheme::Euler };
        let steering = Steering { dynamics, scheme, grid: self.grid().from(start) };
        Ok(integrate(&self.flow, &guide, &steering, x, noise, &mut |step| {
            let mut told = progress(step.index + 1, self.steps);
            if let Some(weights) = step.guidance.concentration()? {
                (told.effective_sample_size, told.largest_weight) = (weights.effective_sample_size, weights.largest_weight);
            }
            if step.guidance.correction.is_some() {
                told.correction_norm = step.guidance.correction_norm()?;
            }
            self.callbacks.step(&told)
        })?)
    }
}

/// Samples aimed at the host's reward.
///
/// # Errors
/// See `mfm_steer`.
pub fn steer<B: Backend>(run: &Run<B>, callbacks: &Callbacks<'_>, options: &SteerOptions<'_>, output: Output<'_>) -> Result<()> {
    let count = run.wanted(&output)?;
    shared(&options.draw)?;
    let estimator = Estimator::new(options.estimator)?;
    if estimator.needs_gradient() && !callbacks.has_gradient() {
        let message = "this estimator needs the reward's gradient, which this reward does not offer";
        return Err(Failure::new(Code::Unsupported, message));
    }
    let or_usual = |given: usize, usual: usize| if given == 0 { usual } else { given };
    let (steps, draws) = estimator.usual();
    let (steps, draws) = (or_usual(options.steps, steps), Draws::new(or_usual(options.draws, draws)));
    let flow = run.flow(options.draw.labels, options.draw.guidance)?;
    let reward = HostReward::new(callbacks, &run.device);
    callbacks.say(format_args!("steering {count} samples by {estimator:?}, {steps} steps, {} draws", draws.count));
    let noise = options.draw.noise();
    let x = mfm_core::Device::normal(&run.device, &noise.fork(0), run.shape(count)?)?;
    let plan = Plan { run, flow, reward: &reward, callbacks, options, steps, draws };
    deliver::<B>(&plan.run(estimator, &x, &noise.fork(1))?, output)
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
    let reward = HostReward::new(callbacks, &run.device);
    let grid = TimeGrid { power: options.power, ..TimeGrid::uniform(options.steps) };
    let keep = if options.keep_overall { Keep::Overall } else { Keep::PerParticle };
    let search = Search { grid, draws: Draws::new(options.draws), keep, coupling: coupling(options.coupling)? };
    callbacks.say(format_args!("searching with {particles} particles, {} times, {} draws", options.steps, options.draws));
    let noise = options.draw.noise();
    let x = mfm_core::Device::normal(&run.device, &noise.fork(0), run.shape(particles)?)?;
    let found = search.run(&flow, &reward, &x, &noise.fork(1), &mut |index, best_reward| {
        callbacks.step(&Progress { best_reward, ..progress(index + 1, options.steps) })
    })?;
    write::<B>(&found.samples, samples, "the samples")?;
    rewards.iter_mut().zip(&found.rewards).for_each(|(place, reward)| *place = *reward as f32);
    Ok(())
}
