//! `mfm steer`: samples aimed at a reward.

use super::destination::{Destination, Groups, Samples};
use crate::arguments::{at_least_one, not_negative, one_of, part, positive, time};
use crate::context::Context;
use crate::data::Row;
use crate::failure::{Failure, Place, Result};
use crate::model::{ConditionArguments, LoadedModel, shape};
use crate::reward::{self, AnyReward};
use crate::steering::{self, Diagnostics, Estimator, Plan, dash, estimators};
use crate::table::{Table, count, number};
use clap::builder::TypedValueParser;
use mfm_core::coupling::Coupling;
use mfm_core::plan::PlanOption;
use mfm_core::search::Keep;
use mfm_core::steer::{Dynamics, Scheme};
use mfm_core::{Device, Reward, Tensor};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// What is steered to what, however it is done.
#[derive(Clone, Debug, clap::Args)]
pub struct Aim {
    /// The model file
    pub model: PathBuf,
    #[arg(long, value_name = "REWARD", help = reward::HELP, next_line_help = true)]
    #[allow(missing_docs)] // the help is its documentation
    pub reward: String,
    /// How many samples (particles, for smc and search)
    #[arg(short = 'n', long = "samples", value_name = "N", default_value_t = 100, value_parser = at_least_one, allow_negative_numbers = true)]
    pub samples: usize,
    /// The condition
    #[command(flatten)]
    pub condition: ConditionArguments,
    /// The file to write: .csv, .npy or .png [default: text on standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The options of `mfm steer`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// What is steered to what
    #[command(flatten)]
    pub aim: Aim,
    /// How to steer
    #[arg(long, value_name = "ESTIMATOR", default_value = "resampled", value_parser = estimators())]
    pub estimator: Estimator,
    /// Time steps [default: 100 for an ODE or SDE, 1 for best-of-n, 16 for mcmc and mfm-smc, else 8]
    #[arg(long, value_name = "K", value_parser = at_least_one, allow_negative_numbers = true)]
    pub steps: Option<usize>,
    /// Posterior draws for each state; fresh starts for mcmc, candidates for best-of-n [default: 32 for resampled, 8 for mcmc, else 16]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub draws: Option<usize>,

    /// Which equation is integrated; smc always follows the SDE, mfm-smc by sde, else bridges [default: ode]
    #[arg(long, value_name = "DYNAMICS", value_parser = equations(), help_heading = "For ODEs and SDEs: dps, mfm-g, mfm-gf, unsteered, smc and mfm-smc")]
    pub dynamics: Option<Dynamics>,
    /// The first time, at which noise stands for the state: an ODE keeps that error, of first order in the time, and an SDE forgets it to second order; 0, for an
    /// ODE alone, is exact [default: 0.01]
    #[arg(long, value_name = "T", value_parser = time, allow_negative_numbers = true, help_heading = "For ODEs and SDEs: dps, mfm-g, mfm-gf, unsteered, smc and mfm-smc")]
    pub start: Option<f64>,
    /// How it is integrated [default: euler]
    #[arg(long, value_name = "SCHEME", value_parser = schemes(), help_heading = "For dps, mfm-g, mfm-gf and unsteered")]
    pub scheme: Option<Scheme>,
    /// Steer only from this time on [default: 0]
    #[arg(long, value_name = "T", value_parser = time, allow_negative_numbers = true, help_heading = "For dps, mfm-g and mfm-gf")]
    pub steer_from: Option<f64>,
    /// Steer only up to this time [default: 1]
    #[arg(long, value_name = "T", value_parser = time, allow_negative_numbers = true, help_heading = "For dps, mfm-g and mfm-gf")]
    pub steer_until: Option<f64>,
    /// A factor on the correction [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = not_negative, allow_negative_numbers = true, help_heading = "For dps, mfm-g and mfm-gf")]
    pub damping: Option<f64>,
    /// Rescale each correction to this multiple of the drift's norm
    #[arg(long, value_name = "MULTIPLE", value_parser = positive, allow_negative_numbers = true, help_heading = "For dps, mfm-g and mfm-gf")]
    pub rescale: Option<f64>,
    /// Shorten each correction to this multiple of the drift's norm
    #[arg(long, value_name = "MULTIPLE", value_parser = positive, allow_negative_numbers = true, help_heading = "For dps, mfm-g and mfm-gf")]
    pub clip: Option<f64>,

    /// Above 1 the time grid is finer at its start, below 1 at its end
    #[arg(long, value_name = "POWER", default_value_t = 1.0, value_parser = positive, allow_negative_numbers = true)]
    pub power: f64,
    /// Chain moves at each time, for mcmc [default: 4]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub moves: Option<usize>,
    /// How the next state is made, for resampled, mcmc, mfm-smc by bridges and search [default: bridge]
    #[arg(long, value_name = "COUPLING", value_parser = couplings())]
    pub coupling: Option<Coupling>,
    /// All particles go on from the best draw of all, for search
    #[arg(long)]
    pub keep_overall: bool,
    /// Resample below this share of the particles, for smc and mfm-smc [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = part, allow_negative_numbers = true)]
    pub threshold: Option<f64>,
}

fn equations() -> impl TypedValueParser<Value = Dynamics> {
    one_of([("ode", "The guided ordinary differential equation", Dynamics::Ode), ("sde", "The guided stochastic one", Dynamics::Sde)])
}

fn schemes() -> impl TypedValueParser<Value = Scheme> {
    one_of([("euler", "One evaluation a step", Scheme::Euler), ("heun", "Two, of second order", Scheme::Heun)])
}

/// Reads a coupling of successive states.
pub(super) fn couplings() -> impl TypedValueParser<Value = Coupling> {
    one_of([
        ("bridge", "The Gaussian bridge", Coupling::Bridge),
        ("same-noise", "The noise that the state had", Coupling::SameNoise),
        ("fresh-noise", "Fresh noise", Coupling::FreshNoise),
    ])
}

/// The plan of the command line, its defaults filled in.
fn plan(arguments: &Arguments) -> Result<Plan> {
    let usual = Plan::usual(arguments.estimator);
    let (from, until) = (*usual.window.start(), *usual.window.end());
    let plan = Plan {
        draws: arguments.draws.unwrap_or(usual.draws),
        steps: arguments.steps.unwrap_or(usual.steps),
        moves: arguments.moves.unwrap_or(usual.moves),
        dynamics: arguments.dynamics.unwrap_or(usual.dynamics),
        scheme: arguments.scheme.unwrap_or(usual.scheme),
        start: arguments.start.unwrap_or(usual.start),
        power: arguments.power,
        window: arguments.steer_from.unwrap_or(from)..=arguments.steer_until.unwrap_or(until),
        damping: arguments.damping.unwrap_or(usual.damping),
        rescale: arguments.rescale,
        clip: arguments.clip,
        coupling: arguments.coupling.unwrap_or(usual.coupling),
        keep: if arguments.keep_overall { Keep::Overall } else { Keep::PerParticle },
        threshold: arguments.threshold.unwrap_or(usual.threshold),
        ..usual
    };
    are_of_use(arguments, &plan)?;
    plan.check()?;
    Ok(plan)
}

/// Checks that the estimator reads every option that is given.
fn are_of_use(arguments: &Arguments, plan: &Plan) -> Result<()> {
    let options = [
        ("draws", arguments.draws.is_some(), PlanOption::Draws),
        ("dynamics", arguments.dynamics.is_some(), PlanOption::Dynamics),
        ("start", arguments.start.is_some(), PlanOption::Start),
        ("scheme", arguments.scheme.is_some(), PlanOption::Scheme),
        ("steer-from", arguments.steer_from.is_some(), PlanOption::Window),
        ("steer-until", arguments.steer_until.is_some(), PlanOption::Window),
        ("damping", arguments.damping.is_some(), PlanOption::Damping),
        ("rescale", arguments.rescale.is_some(), PlanOption::Rescale),
        ("clip", arguments.clip.is_some(), PlanOption::Clip),
        ("moves", arguments.moves.is_some(), PlanOption::Moves),
        ("coupling", arguments.coupling.is_some(), PlanOption::Coupling),
        ("keep-overall", arguments.keep_overall, PlanOption::Keep),
        ("threshold", arguments.threshold.is_some(), PlanOption::Threshold),
    ];
    match plan.unread(&options) {
        Some(name) => {
            let (whose, way) = (plan.estimator.name(), plan.estimator.way(plan.dynamics));
            Err(Failure::input(format!("--{name}: it makes no difference to --estimator {whose}{way}")))
        }
        None => Ok(()),
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    model: &'a str,
    reward: &'a str,
    estimator: &'static str,
    samples: usize,
    steps: usize,
    draws: usize,
    evaluations: usize,
    mean_reward: f64,
    best_reward: f64,
    seconds: f64,
    #[serde(serialize_with = "steering::serialize")]
    diagnostics: &'a [Diagnostics],
    /// Only if they went to no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<Row<'a>>>,
}

impl Report<'_> {
    /// Shows it: as a table, or in a sentence where the samples themselves went to standard output.
    fn show<T: Tensor>(&self, context: &Context<T>) -> Result<()> {
        let (mean, best, evaluations) = (number(self.mean_reward, 4), number(self.best_reward, 4), count(self.evaluations));
        if self.rows.is_some() {
            context.say(format!("mean reward {mean}, best {best}, {evaluations} evaluations a sample"));
        } else {
            let mut table = Table::new(["estimator", "samples", "steps", "draws", "evaluations", "mean reward", "best", "seconds"]);
            let (steps, draws) = (self.steps.to_string(), dash(self.draws));
            table.row([self.estimator.to_owned(), count(self.samples), steps, draws, evaluations, mean, best, number(self.seconds, 3)]);
            context.table(&table)?;
        }
        context.results(self)
    }
}

/// Runs `mfm steer`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    carry_out(context, &arguments.aim, &plan(arguments)?)
}

/// Draws samples by a plan, and reports on them.
///
/// # Errors
/// One sentence for the user.
pub(super) fn carry_out<T: Tensor>(context: &Context<T>, aim: &Aim, plan: &Plan) -> Result<()> {
    let model = LoadedModel::<T>::load(&aim.model, &context.device)?;
    let dimension = model.dimension();
    let destination = Destination::new(aim.out.as_deref(), dimension)?;
    let flow = model.flow(&aim.condition)?;
    let of_data = AnyReward::new(context, &aim.reward, dimension)?;
    let reward = model.reward(&of_data)?;
    let n = aim.samples;
    let x = context.device.normal(&context.noise.fork(0), shape(n, dimension)?).at(format!("--samples {n}"))?;
    if plan.estimator.has_draws() {
        model.warn_of_jumps(context, Some("use mfm steer by --estimator dps or smc"));
    }

    let start = Instant::now();
    let progress = context.progress("steering", plan.reports(x.shape())? as u64);
    let mut diagnostics = Vec::new();
    let samples = plan.run(&flow, &reward, &x, &context.noise.fork(1), &mut |step: Diagnostics| {
        context.detail_above(&progress, step);
        diagnostics.push(step);
        progress.advance(1);
        Ok(())
    });
    let samples = samples.at(&model.source)?;
    let rows = model.numbers(&samples)?;
    drop(progress);
    let seconds = start.elapsed().as_secs_f64();
    let rewards = reward.value(&samples)?.to_vec::<f64>()?;
    let mean_reward = rewards.iter().sum::<f64>() / rewards.len() as f64;
    let best_reward = rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max);

    let name = plan.estimator.name();
    let title = format!("{} samples by {name}, mean reward {}", count(n), number(mean_reward, 3));
    let given = of_data.images();
    let groups = if given.is_empty() { Groups::One } else { Groups::Beside(&given) };
    destination.write(context, &Samples { title: &title, rows: &rows, dimension, groups })?;
    let rows = destination.is_stdout().then(|| rows.rows(dimension));
    let report = Report {
        model: &model.source,
        reward: &aim.reward,
        estimator: name,
        samples: n,
        steps: plan.steps,
        draws: plan.draws,
        evaluations: model.passes(&aim.condition) * plan.evaluations(model.path),
        mean_reward,
        best_reward,
        seconds,
        diagnostics: &diagnostics,
        rows,
    };
    report.show(context)
}
