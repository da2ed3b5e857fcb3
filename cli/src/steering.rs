//! One plan for every way of steering, shared by the commands.

use mfm_core::guidance::{Dps, Guide, MfmGradient, MfmGradientFree, Unsteered};
use mfm_core::posterior_mcmc::{PosteriorMcmc, steer_by_mcmc};
use mfm_core::resample::{Coupling, Resampling, steer_by_resampling};
use mfm_core::steer::{Dynamics, Scheme, Steering, steer};
use mfm_core::{Draws, Flow, Lift, Noise, Result, Reward, Tensor, TimeGrid};

/// A way to steer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// Samples of the model itself.
    Unsteered,
    /// The reward at the posterior mean.
    Dps,
    /// MFM-G: the gradient through posterior draws.
    MfmGradient,
    /// MFM-GF: weighted posterior draws, without gradients.
    MfmGradientFree,
    /// Choose a posterior draw by weight, then bridge.
    Resampled,
    /// Markov chains in the noise of the one-step map.
    Mcmc,
}

impl Estimator {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unsteered => "unsteered",
            Self::Dps => "dps",
            Self::MfmGradient => "mfm-g",
            Self::MfmGradientFree => "mfm-gf",
            Self::Resampled => "resampled",
            Self::Mcmc => "mcmc",
        }
    }
}

/// The first time of a guided ODE or SDE. Noise alone stands for the state there, which errs by O(0.01²).
pub const FIRST_TIME: f64 = 0.01;

/// An estimator with its sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Which.
    pub estimator: Estimator,
    /// Posterior draws for each state; for MCMC the fresh ones.
    pub draws: usize,
    /// Time steps.
    pub steps: usize,
    /// MALA moves at each time, for MCMC.
    pub moves: usize,
    /// ODE or SDE, for guides.
    pub dynamics: Dynamics,
    /// Rows evaluated at once.
    pub rows: usize,
}

/// How far a plan has come, and how it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub done: usize,
    /// The effective sample size of the draws' weights, where there are draws.
    pub effective_sample_size: Option<f64>,
    /// The largest weight, where there are draws.
    pub largest_weight: Option<f64>,
    /// The mean norm of the correction (σ²/2)∇V, for guides.
    pub correction_norm: Option<f64>,
    /// The acceptance of the chains, for MCMC.
    pub acceptance: Option<f64>,
}

impl Plan {
    /// A plan by ODE without chains.
    pub fn new(estimator: Estimator, draws: usize, steps: usize) -> Self {
        Self { estimator, draws, steps, moves: 0, dynamics: Dynamics::Ode, rows: 8_192 }
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
            (_, Dynamics::Ode) => "ode",
            (_, Dynamics::Sde) => "sde",
        }
    }

    fn draws(&self) -> Draws {
        Draws { count: self.draws, rows: self.rows }
    }

    fn steering(&self) -> Steering {
        Steering { dynamics: self.dynamics, scheme: Scheme::Euler, grid: TimeGrid::uniform(self.steps).from(FIRST_TIME) }
    }

    fn resampling(&self) -> Resampling {
        Resampling { grid: TimeGrid::uniform(self.steps), draws: self.draws(), coupling: Coupling::Bridge }
    }

    fn mcmc(&self) -> PosteriorMcmc {
        PosteriorMcmc { fresh: self.draws(), ..PosteriorMcmc::new(self.steps, self.moves) }
    }

    /// Network evaluations for each sample; a backward pass counts two.
    pub fn evaluations(&self) -> usize {
        match self.estimator {
            Estimator::Unsteered => self.steps,
            Estimator::Dps => 3 * self.steps,
            Estimator::MfmGradient => self.steps * (1 + 3 * self.draws),
            Estimator::MfmGradientFree => self.steps * (1 + self.draws),
            Estimator::Resampled => self.resampling().evaluations(),
            Estimator::Mcmc => self.mcmc().evaluations(),
        }
    }

    /// Samples, from the standard normal `x`. `on_step` may stop the run by an error.
    ///
    /// # Errors
    /// Those of the map, the reward and `on_step`.
    pub fn run<T: Tensor, M: Lift<T>, R: Reward<T>>(
        &self,
        flow: &Flow<'_, M>,
        reward: &R,
        x: &T,
        noise: &Noise,
        on_step: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<T> {
        let draws = self.draws();
        match self.estimator {
            Estimator::Unsteered => self.guided(flow, &Unsteered, x, noise, on_step),
            Estimator::Dps => self.guided(flow, &Dps { reward }, x, noise, on_step),
            Estimator::MfmGradient => self.guided(flow, &MfmGradient { reward, draws }, x, noise, on_step),
            Estimator::MfmGradientFree => self.guided(flow, &MfmGradientFree { reward, draws }, x, noise, on_step),
            Estimator::Resampled => steer_by_resampling(flow, reward, &self.resampling(), x, noise, &mut |index, weights| {
                on_step(Progress {
                    done: index + 1,
                    effective_sample_size: Some(weights.effective_sample_size),
                    largest_weight: Some(weights.largest_weight),
                    ..Progress::default()
                })
            }),
            Estimator::Mcmc => steer_by_mcmc(flow, reward, &self.mcmc(), x, noise, &mut |report| {
                on_step(Progress { done: report.index + 1, acceptance: Some(report.acceptance), ..Progress::default() })
            }),
        }
    }

    /// The plan's ODE or SDE under any guide.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn guided<T: Tensor, M: Lift<T>>(
        &self,
        flow: &Flow<'_, M>,
        guide: &impl Guide<T, M>,
        x: &T,
        noise: &Noise,
        on_step: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<T> {
        steer(flow, guide, &self.steering(), x, noise, &mut |step| {
            let weights = step.guidance.concentration()?;
            on_step(Progress {
                done: step.index + 1,
                effective_sample_size: weights.map(|w| w.effective_sample_size),
                largest_weight: weights.map(|w| w.largest_weight),
                correction_norm: step.guidance.correction.as_ref().map(|_| step.guidance.correction_norm()).transpose()?,
                acceptance: None,
            })
        })
    }
}
