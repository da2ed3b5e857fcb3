//! One plan for every way of steering: an estimator chosen at run time, with its sizes and options.

mod diagnostics;
mod options;

pub use diagnostics::Diagnostics;
pub use options::PlanOption;

use crate::best_of::best_of;
use crate::coupling::Coupling;
use crate::draws::Draws;
use crate::error::{Error, Result};
use crate::flow_map::{Flow, Lift};
use crate::guidance::{Adjusted, Dps, Guide, MfmGradient, MfmGradientFree, Unsteered};
use crate::interpolant::{Interpolant, check_time};
use crate::noise::Noise;
use crate::population::{Bridged, Generation, GuidedSde, Potential, SequentialMonteCarlo, check_threshold};
use crate::posterior_mcmc::{PosteriorMcmc, steer_by_mcmc};
use crate::resample::{Resampling, steer_by_resampling};
use crate::reward::Reward;
use crate::search::{Keep, Search};
use crate::shape::Shape;
use crate::steer::{Dynamics, FIRST_TIME, Scheme, Steering, check_sde_time, steer};
use crate::tensor::Tensor;
use crate::times::TimeGrid;
use core::ops::RangeInclusive;

/// A way to steer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// Not at all: samples of the model itself.
    Unsteered,
    /// By the reward's gradient at the posterior mean.
    Dps,
    /// By the gradient of the value through posterior draws.
    MfmG,
    /// By weighted posterior draws, without gradients.
    MfmGf,
    /// By choosing posterior draws, exact in law for many draws.
    Resampled,
    /// By Markov chains in the noise of the one-step map.
    Mcmc,
    /// The best of several samples.
    BestOfN,
    /// By a population of weighted particles (twisted diffusion sampler).
    Smc,
    /// By a population of particles weighed by their value, through posterior draws, without gradients.
    MfmSmc,
    /// By keeping the best draws and renoising.
    Search,
}

impl Estimator {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Unsteered,
        Self::Dps,
        Self::MfmG,
        Self::MfmGf,
        Self::Resampled,
        Self::Mcmc,
        Self::BestOfN,
        Self::Smc,
        Self::MfmSmc,
        Self::Search,
    ];

    /// The name in tables, and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unsteered => "unsteered",
            Self::Dps => "dps",
            Self::MfmG => "mfm-g",
            Self::MfmGf => "mfm-gf",
            Self::Resampled => "resampled",
            Self::Mcmc => "mcmc",
            Self::BestOfN => "best-of-n",
            Self::Smc => "smc",
            Self::MfmSmc => "mfm-smc",
            Self::Search => "search",
        }
    }

    /// Whether it needs the gradient of the reward.
    pub fn needs_gradient(self) -> bool {
        matches!(self, Self::Dps | Self::MfmG | Self::Mcmc | Self::Smc)
    }
}

/// An estimator with its sizes and options. Options that an estimator does not use are not read.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Which.
    pub estimator: Estimator,
    /// Posterior draws for each state; for MCMC the fresh ones, for best-of-n the candidates.
    pub draws: usize,
    /// Time steps.
    pub steps: usize,
    /// MALA moves at each time, for MCMC.
    pub moves: usize,
    /// ODE or SDE, for guides; SDE instead of bridges for SMC by values.
    pub dynamics: Dynamics,
    /// How it is integrated.
    pub scheme: Scheme,
    /// The first time of an ODE or SDE. 0 is exact, and possible for an ODE alone; until [`FIRST_TIME`] a guide by gradients then uses its correction there.
    pub start: f64,
    /// The power of the time grid.
    pub power: f64,
    /// The times at which a guide corrects.
    pub window: RangeInclusive<f64>,
    /// A factor on a guide's correction.
    pub damping: f64,
    /// A guide's correction is rescaled to this multiple of the drift's norm.
    pub rescale: Option<f64>,
    /// A guide's correction is shortened to this multiple of the drift's norm.
    pub clip: Option<f64>,
    /// How the next state is made, for resampling, MCMC, SMC by values and search.
    pub coupling: Coupling,
    /// Which draws a search keeps.
    pub keep: Keep,
    /// The share of the particles below which SMC resamples.
    pub threshold: f64,
}

type OnStep<'a> = dyn FnMut(Diagnostics) -> Result<()> + 'a;

impl Plan {
    /// A plan by ODE, for MCMC of 4 moves at each time; all options as they are by default.
    pub fn new(estimator: Estimator, draws: usize, steps: usize) -> Self {
        Self {
            estimator,
            draws,
            steps,
            moves: if estimator == Estimator::Mcmc { 4 } else { 0 },
            dynamics: Dynamics::Ode,
            scheme: Scheme::Euler,
            start: FIRST_TIME,
            power: 1.0,
            window: 0.0..=1.0,
            damping: 1.0,
            rescale: None,
            clip: None,
            coupling: Coupling::Bridge,
            keep: Keep::PerParticle,
            threshold: 0.5,
        }
    }

    /// A plan of the usual sizes, from which others may differ: `Plan { draws: 64, ..Plan::usual(Estimator::MfmGf) }`.
    pub fn usual(estimator: Estimator) -> Self {
        let (draws, steps) = match estimator {
            Estimator::Unsteered | Estimator::Dps | Estimator::Smc => (0, 100),
            Estimator::MfmG | Estimator::MfmGf => (16, 100),
            Estimator::BestOfN => (16, 1),
            Estimator::Resampled => (32, 8),
            Estimator::MfmSmc => (16, 16),
            Estimator::Search => (16, 8),
            Estimator::Mcmc => (8, 16),
        };
        Self::new(estimator, draws, steps)
    }

    /// The same by SDE.
    #[must_use]
    pub fn by_sde(self) -> Self {
        Self { dynamics: Dynamics::Sde, ..self }
    }

    /// The name of the sampler in tables.
    pub fn sampler(&self) -> &'static str {
        match (self.estimator, self.dynamics) {
            (Estimator::Resampled | Estimator::Mcmc, _) => "bridge",
            (Estimator::BestOfN | Estimator::Search, _) => "map",
            (Estimator::Smc, _) | (_, Dynamics::Sde) => "sde",
            (Estimator::MfmSmc, _) => "bridge",
            (_, Dynamics::Ode) => "ode",
        }
    }

    fn draws(&self) -> Draws {
        Draws::new(self.draws)
    }

    fn grid(&self) -> TimeGrid {
        TimeGrid { power: self.power, ..TimeGrid::uniform(self.steps) }
    }

    fn steering(&self) -> Steering {
        Steering { dynamics: self.dynamics, scheme: self.scheme, grid: self.grid().starting_at(self.start) }
    }

    fn resampling(&self) -> Resampling {
        Resampling { grid: self.grid(), draws: self.draws(), coupling: self.coupling }
    }

    fn mcmc(&self) -> PosteriorMcmc {
        PosteriorMcmc { grid: self.grid(), fresh: self.draws(), coupling: self.coupling, ..PosteriorMcmc::new(self.steps, self.moves) }
    }

    /// Particles weighed at the posterior mean, along the SDE.
    fn twisted(&self) -> SequentialMonteCarlo {
        SequentialMonteCarlo { grid: self.grid().starting_at(self.start), potential: Potential::PosteriorMean, threshold: self.threshold }
    }

    /// Particles weighed by their value, along the SDE or by bridges, which can begin at noise itself.
    fn valued(&self) -> SequentialMonteCarlo {
        let grid = if self.dynamics == Dynamics::Sde { self.grid().starting_at(self.start) } else { self.grid() };
        SequentialMonteCarlo { grid, potential: Potential::Value(self.draws()), threshold: self.threshold }
    }

    fn search(&self) -> Search {
        Search { grid: self.grid(), draws: self.draws(), keep: self.keep, coupling: self.coupling }
    }

    /// Network evaluations for each sample along a path; a backward pass counts two.
    pub fn evaluations(&self, path: &dyn Interpolant) -> usize {
        match self.estimator {
            Estimator::Unsteered => self.guided_evaluations(path, 1),
            Estimator::Dps => self.guided_evaluations(path, 3),
            Estimator::MfmG => self.guided_evaluations(path, self.draws.saturating_mul(3).saturating_add(1)),
            Estimator::MfmGf => self.guided_evaluations(path, self.draws.saturating_add(1)),
            Estimator::Resampled => self.resampling().evaluations(),
            Estimator::Mcmc => self.mcmc().evaluations(),
            Estimator::BestOfN => self.steps.saturating_mul(self.draws),
            Estimator::Smc => self.twisted().evaluations(3),
            Estimator::MfmSmc => self.valued().evaluations(1),
            Estimator::Search => self.search().evaluations(),
        }
    }

    /// How often [`run`](Self::run) calls `on_step` for samples of this shape: after each step, for best-of-n after each block of samples.
    ///
    /// # Errors
    /// [`Error::Range`] for no samples, or no draws, for best-of-n.
    pub fn reports(&self, samples: Shape) -> Result<usize> {
        if self.estimator == Estimator::BestOfN { Ok(self.draws().blocks(samples)?.len()) } else { Ok(self.steps) }
    }

    /// Those of an ODE or SDE under a guide that costs `of_guide`; outside the window the drift alone is asked.
    fn guided_evaluations(&self, path: &dyn Interpolant, of_guide: usize) -> usize {
        let steering = self.steering();
        let all = steering.evaluations(of_guide);
        let Ok(times) = steering.grid.times(path) else { return all };
        let corrector = times[1..].iter().filter(|t| steering.scheme == Scheme::Heun && **t < 1.0);
        let asked = || times[..times.len() - 1].iter().chain(corrector.clone());
        let outside = asked().filter(|t| !self.window.contains(t)).count();
        // There the drift is asked apart from the correction.
        let early = asked().filter(|t| self.window.contains(t) && **t < self.earliest()).count();
        all.saturating_sub(outside.saturating_mul(of_guide.saturating_sub(1))).saturating_add(early)
    }

    /// The time before which a guide by gradients, in a run from 0, is asked at this time.
    fn earliest(&self) -> f64 {
        if self.start == 0.0 && self.estimator.needs_gradient() { FIRST_TIME } else { 0.0 }
    }

    /// Checks that every option is in its range, and every size that the estimator reads.
    ///
    /// # Errors
    /// [`Error::Range`], naming what is not.
    pub fn check(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.start) {
            return Err(Error::Range { what: "the first time", value: self.start, range: "at least 0 and below 1" });
        }
        let is_sde = self.dynamics == Dynamics::Sde || self.estimator == Estimator::Smc;
        if is_sde && self.estimator.reads(PlanOption::Start, self.dynamics) {
            check_sde_time(self.start)?;
        }
        self.grid().check()?;
        if self.estimator.has_draws() {
            self.draws().check()?;
        }
        if self.estimator == Estimator::Mcmc && self.moves == 0 {
            return Err(Error::Range { what: "the number of chain moves", value: 0.0, range: "at least 1" });
        }
        check_threshold(self.threshold)?;
        let (from, until) = (*self.window.start(), *self.window.end());
        check_time("the first time of the window", from)?;
        check_time("the last time of the window", until)?;
        if from > until {
            return Err(Error::Range { what: "the first time of the window", value: from, range: "no later than its last" });
        }
        for (what, factor) in [("the damping", Some(self.damping)), ("the rescaling", self.rescale), ("the clipping", self.clip)] {
            if let Some(value) = factor.filter(|factor| !(*factor >= 0.0 && factor.is_finite())) {
                return Err(Error::Range { what, value, range: "at least 0 and finite" });
            }
        }
        Ok(())
    }

    /// Samples, from the standard normal `x`. `on_step` is called as often as [`reports`](Self::reports) has it, and may stop the run by an error.
    ///
    /// # Errors
    /// As [`check`](Self::check), and those of the map, the reward and `on_step`; [`Error::Range`] for no samples.
    pub fn run<T: Tensor, M: Lift<T>, R: Reward<T>>(
        &self,
        flow: &Flow<'_, M>,
        reward: &R,
        x: &T,
        noise: &Noise,
        on_step: &mut OnStep<'_>,
    ) -> Result<T> {
        self.check()?;
        let draws = self.draws();
        match self.estimator {
            Estimator::Unsteered => self.guided(flow, Unsteered, x, noise, on_step),
            Estimator::Dps => self.guided(flow, Dps { reward }, x, noise, on_step),
            Estimator::MfmG => self.guided(flow, MfmGradient { reward, draws }, x, noise, on_step),
            Estimator::MfmGf => self.guided(flow, MfmGradientFree { reward, draws }, x, noise, on_step),
            Estimator::Resampled => steer_by_resampling(flow, reward, &self.resampling(), x, noise, &mut |index, weights| {
                on_step(Diagnostics::of_step(index).with_weights(Some(weights)))
            }),
            Estimator::Mcmc => steer_by_mcmc(flow, reward, &self.mcmc(), x, noise, &mut |report| {
                let step = Diagnostics::of_step(report.index).with_weights(Some(report.start));
                on_step(Diagnostics { acceptance: Some(report.acceptance), ..step })
            }),
            Estimator::BestOfN => best_of(flow, reward, &self.grid(), draws, x, noise, &mut |index, best| {
                on_step(Diagnostics { best_reward: Some(best), ..Diagnostics::of_step(index) })
            }),
            Estimator::Smc => {
                self.twisted().run(flow, reward, &GuidedSde(Dps { reward }), x, noise, &mut |generation| on_step(generation.into()))
            }
            Estimator::MfmSmc => {
                let (population, tell) = (self.valued(), &mut |generation: Generation| on_step(generation.into()));
                match self.dynamics {
                    Dynamics::Ode => population.run(flow, reward, &Bridged(self.coupling), x, noise, tell),
                    Dynamics::Sde => population.run(flow, reward, &GuidedSde(Unsteered), x, noise, tell),
                }
            }
            Estimator::Search => {
                let found = self.search().run(flow, reward, x, noise, &mut |index, best| {
                    on_step(Diagnostics { best_reward: Some(best), ..Diagnostics::of_step(index) })
                })?;
                Ok(found.samples)
            }
        }
    }

    /// The plan's ODE or SDE under any guide.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn guided<T: Tensor, M: Lift<T>>(
        &self,
        flow: &Flow<'_, M>,
        guide: impl Guide<T, M>,
        x: &T,
        noise: &Noise,
        on_step: &mut OnStep<'_>,
    ) -> Result<T> {
        self.check()?;
        let earliest = self.earliest();
        let guide =
            Adjusted { guide, earliest, window: self.window.clone(), damping: self.damping, rescale: self.rescale, clip: self.clip };
        steer(flow, &guide, &self.steering(), x, noise, &mut |step| {
            let correction_norm = step.guidance.correction.as_ref().map(|_| step.guidance.correction_norm()).transpose()?;
            on_step(Diagnostics { correction_norm, ..Diagnostics::of_step(step.index).with_weights(step.guidance.concentration()?) })
        })
    }
}
