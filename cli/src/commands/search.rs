//! `mfm search`: particles that look ahead, keep the best draws, and renoise.

use super::steer::{Aim, carry_out, couplings};
use crate::arguments::{at_least_one, positive};
use crate::context::Context;
use crate::failure::Result;
use crate::steering::{Estimator, Plan};
use mfm_core::Tensor;
use mfm_core::coupling::Coupling;
use mfm_core::search::Keep;

/// The options of `mfm search`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// What is steered to what
    #[command(flatten)]
    pub aim: Aim,
    /// Times at which the particles look ahead
    #[arg(long, value_name = "K", default_value_t = 8, value_parser = at_least_one, allow_negative_numbers = true)]
    pub steps: usize,
    /// Posterior draws for each particle at each time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_one, allow_negative_numbers = true)]
    pub draws: usize,
    /// All particles go on from the best draw of all, instead of each from its own
    #[arg(long)]
    pub keep_overall: bool,
    /// How a kept draw is taken to the next time
    #[arg(long, value_name = "COUPLING", default_value = "bridge", value_parser = couplings())]
    pub coupling: Coupling,
    /// Above 1 the time grid is finer at its start, below 1 at its end
    #[arg(long, value_name = "POWER", default_value_t = 1.0, value_parser = positive, allow_negative_numbers = true)]
    pub power: f64,
}

/// Runs `mfm search`. Each particle ends as the best draw that it ever made; `--json` holds the best reward after each time.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let plan = Plan {
        coupling: arguments.coupling,
        keep: if arguments.keep_overall { Keep::Overall } else { Keep::PerParticle },
        power: arguments.power,
        ..Plan::new(Estimator::Search, arguments.draws, arguments.steps)
    };
    carry_out(context, &arguments.aim, &plan)
}
