//! One run of any of the ways to steer, with a report of each step.

use super::{Arguments, Estimator};
use crate::failure::{Failure, Result};
use crate::table::number;
use mfm_core::baseline::{Potential, SequentialMonteCarlo, best_of};
use mfm_core::guidance::{Adjusted, Dps, Guide, MfmGradient, MfmGradientFree, Unsteered};
use mfm_core::posterior_mcmc::{PosteriorMcmc, steer_by_mcmc};
use mfm_core::resample::{Resampling, steer_by_resampling};
use mfm_core::search::{Keep, Search};
use mfm_core::steer::{Steering, steer};
use mfm_core::{Draws, Flow, Lift, Noise, Reward, Tensor, TimeGrid};
use serde::Serialize;
use std::fmt;

/// How one step went; what an estimator does not know is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Diagnostics {
    /// The number of the step, from 1.
    pub step: usize,
    /// The effective sample size of the draws' weights (mean over the states), or of the particles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_sample_size: Option<f64>,
    /// The largest weight, the mean over the states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_weight: Option<f64>,
    /// The mean norm of the correction (σ²/2)∇V.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correction_norm: Option<f64>,
    /// The share of accepted moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<f64>,
    /// The best reward so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_reward: Option<f64>,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.step)?;
        let entries = [
            ("effective sample size", self.effective_sample_size),
            ("largest weight", self.largest_weight),
            ("correction norm", self.correction_norm),
            ("acceptance", self.acceptance),
            ("best reward", self.best_reward),
        ];
        entries
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .try_for_each(|(name, v)| write!(f, ", {name} {}", number(v, 3)))
    }
}

/// What will be run.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    pub steps: usize,
    pub draws: usize,
    arguments: &'a Arguments,
}

type OnStep<'a> = dyn FnMut(Diagnostics) -> mfm_core::Result<()> + 'a;

impl<'a> Plan<'a> {
    /// The plan of the command line, its defaults filled in.
    pub fn new(arguments: &'a Arguments) -> Result<Self> {
        use Estimator::{BestOfN, Dps, Mcmc, MfmG, MfmGf, Resampled, Search, Smc, Unsteered};
        let (steps, draws) = match arguments.estimator {
            Unsteered | Dps | MfmG | MfmGf | Smc => (100, 16),
            BestOfN => (1, 16),
            Resampled => (8, 32),
            Search => (8, 16),
            Mcmc => (16, 8),
        };
        if arguments.start >= 1.0 {
            return Err(Failure::input("--start 1: it must be before 1"));
        }
        if arguments.start == 0.0 && matches!(arguments.estimator, Dps | MfmG | Smc) {
            return Err(Failure::input("--start 0: this estimator needs a first time above 0, where its correction is finite"));
        }
        Ok(Self { steps: arguments.steps.unwrap_or(steps), draws: arguments.draws.unwrap_or(draws), arguments })
    }

    fn grid(&self) -> TimeGrid {
        TimeGrid { power: self.arguments.power, ..TimeGrid::uniform(self.steps) }
    }

    fn draws_each(&self) -> Draws {
        Draws::new(self.draws)
    }

    fn steering(&self) -> Steering {
        let Arguments { dynamics, scheme, start, .. } = *self.arguments;
        Steering { dynamics: dynamics.into(), scheme: scheme.into(), grid: self.grid().from(start) }
    }

    fn resampling(&self) -> Resampling {
        Resampling { grid: self.grid(), draws: self.draws_each(), coupling: self.arguments.coupling.into() }
    }

    fn mcmc(&self) -> PosteriorMcmc {
        let (fresh, coupling) = (self.draws_each(), self.arguments.coupling.into());
        PosteriorMcmc { grid: self.grid(), fresh, coupling, ..PosteriorMcmc::new(self.steps, self.arguments.moves) }
    }

    fn population(&self) -> SequentialMonteCarlo {
        let grid = self.grid().from(self.arguments.start);
        SequentialMonteCarlo { grid, potential: Potential::PosteriorMean, threshold: self.arguments.threshold }
    }

    fn search(&self) -> Search {
        let keep = if self.arguments.keep_overall { Keep::Overall } else { Keep::PerParticle };
        Search { grid: self.grid(), draws: self.draws_each(), keep, coupling: self.arguments.coupling.into() }
    }

    /// Network evaluations for each sample; a backward pass counts two.
    pub fn evaluations(&self) -> usize {
        match self.arguments.estimator {
            Estimator::Unsteered => self.steering().evaluations(1),
            Estimator::Dps => self.steering().evaluations(3),
            Estimator::MfmG => self.steering().evaluations(1 + 3 * self.draws),
            Estimator::MfmGf => self.steering().evaluations(1 + self.draws),
            Estimator::Resampled => self.resampling().evaluations(),
            Estimator::Mcmc => self.mcmc().evaluations(),
            Estimator::BestOfN => self.steps * self.draws,
            Estimator::Smc => self.population().evaluations(3),
            Estimator::Search => self.search().evaluations(),
        }
    }

    /// Samples, from the standard normal `x`.
    pub fn run<T: Tensor, M: Lift<T>, R: Reward<T>>(
        &self,
        flow: &Flow<'_, M>,
        reward: &R,
        x: &T,
        noise: &Noise,
        on_step: &mut OnStep<'_>,
    ) -> mfm_core::Result<T> {
        let draws = self.draws_each();
        match self.arguments.estimator {
            Estimator::Unsteered => self.guided(flow, Unsteered, x, noise, on_step),
            Estimator::Dps => self.guided(flow, Dps { reward }, x, noise, on_step),
            Estimator::MfmG => self.guided(flow, MfmGradient { reward, draws }, x, noise, on_step),
            Estimator::MfmGf => self.guided(flow, MfmGradientFree { reward, draws }, x, noise, on_step),
            Estimator::Resampled => steer_by_resampling(flow, reward, &self.resampling(), x, noise, &mut |index, weights| {
                on_step(Diagnostics {
                    step: index + 1,
                    effective_sample_size: Some(weights.effective_sample_size),
                    largest_weight: Some(weights.largest_weight),
                    ..Diagnostics::default()
                })
            }),
            Estimator::Mcmc => steer_by_mcmc(flow, reward, &self.mcmc(), x, noise, &mut |report| {
                on_step(Diagnostics { step: report.index + 1, acceptance: Some(report.acceptance), ..Diagnostics::default() })
            }),
            Estimator::BestOfN => best_of(&x.device(), flow, reward, &self.grid(), draws, x.shape(), noise),
            Estimator::Smc => self.population().run(flow, reward, &Dps { reward }, x, noise, &mut |generation| {
                let size = Some(generation.effective_sample_size);
                on_step(Diagnostics { step: generation.index + 1, effective_sample_size: size, ..Diagnostics::default() })
            }),
            Estimator::Search => {
                let found = self.search().run(flow, reward, x, noise, &mut |index, best| {
                    on_step(Diagnostics { step: index + 1, best_reward: Some(best), ..Diagnostics::default() })
                })?;
                Ok(found.samples)
            }
        }
    }

    fn guided<T: Tensor, M: Lift<T>>(
        &self,
        flow: &Flow<'_, M>,
        guide: impl Guide<T, M>,
        x: &T,
        noise: &Noise,
        on_step: &mut OnStep<'_>,
    ) -> mfm_core::Result<T> {
        let Arguments { steer_from, steer_until, damping, rescale, clip, .. } = *self.arguments;
        let guide = Adjusted { guide, window: steer_from..=steer_until, damping, rescale, clip };
        steer(flow, &guide, &self.steering(), x, noise, &mut |step| {
            let weights = step.guidance.concentration()?;
            let correction_norm = step.guidance.correction.as_ref().map(|_| step.guidance.correction_norm()).transpose()?;
            on_step(Diagnostics {
                step: step.index + 1,
                effective_sample_size: weights.map(|weights| weights.effective_sample_size),
                largest_weight: weights.map(|weights| weights.largest_weight),
                correction_norm,
                ..Diagnostics::default()
            })
        })
    }
}
