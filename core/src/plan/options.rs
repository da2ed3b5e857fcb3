//! Which options make a difference to which estimator.

use super::{Estimator, Plan};
use crate::steer::Dynamics;

/// An option of a [`Plan`] that not every estimator reads, named as its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The fields have theirs.
pub enum PlanOption {
    Draws,
    Moves,
    Dynamics,
    Scheme,
    Start,
    Window,
    Damping,
    Rescale,
    Clip,
    Coupling,
    Keep,
    Threshold,
}

impl Estimator {
    /// Whether it makes posterior draws, or candidates.
    pub fn has_draws(self) -> bool {
        !matches!(self, Self::Unsteered | Self::Dps | Self::Smc)
    }

    /// Whether its samples are particles of one population.
    pub fn is_population(self) -> bool {
        matches!(self, Self::Smc | Self::MfmSmc)
    }

    /// Whether an option makes a difference to it, by these dynamics.
    pub fn reads(self, option: PlanOption, dynamics: Dynamics) -> bool {
        let is_guided = matches!(self, Self::Dps | Self::MfmG | Self::MfmGf);
        let has_scheme = is_guided || self == Self::Unsteered;
        let by_sde = dynamics == Dynamics::Sde;
        match option {
            PlanOption::Draws => self.has_draws(),
            PlanOption::Moves => self == Self::Mcmc,
            // The twisted sampler follows the SDE anyway, so that this alone may be said of it.
            PlanOption::Dynamics => has_scheme || self == Self::MfmSmc || (self == Self::Smc && by_sde),
            PlanOption::Scheme => has_scheme,
            PlanOption::Start => has_scheme || self == Self::Smc || (self == Self::MfmSmc && by_sde),
            PlanOption::Window | PlanOption::Damping | PlanOption::Rescale | PlanOption::Clip => is_guided,
            PlanOption::Coupling => matches!(self, Self::Resampled | Self::Mcmc | Self::Search) || (self == Self::MfmSmc && !by_sde),
            PlanOption::Keep => self == Self::Search,
            PlanOption::Threshold => self.is_population(),
        }
    }

    /// What is to be said beside its name, where that decides what it reads: " by sde" or " by bridges".
    pub fn way(self, dynamics: Dynamics) -> &'static str {
        match (self, dynamics) {
            (Self::MfmSmc, Dynamics::Sde) => " by sde",
            (Self::MfmSmc, Dynamics::Ode) => " by bridges",
            _ => "",
        }
    }
}

impl Plan {
    /// The name of the first option that is given and makes no difference to the estimator, by the plan's dynamics: of options by the names that the user knows
    /// them by, each with whether it is given.
    pub fn unread<'a>(&self, options: &[(&'a str, bool, PlanOption)]) -> Option<&'a str> {
        let is_unread = |(_, is_given, option): &&(&str, bool, PlanOption)| *is_given && !self.estimator.reads(*option, self.dynamics);
        options.iter().find(is_unread).map(|(name, ..)| *name)
    }
}
