//! `mfm mnist`: the paper's experiment on digits. A flow model, a Meta Flow Map distilled from it, their samples against real digits, steering to a mixture of
//! classes by every estimator, and fine-tuning.

mod models;
mod quality;

use self::models::Models;
use self::quality::Quality;
use crate::commands::train::Size as Form;
use crate::data::{self, LabelColumn};
use crate::experiments::digits::{self, Digits, Experts, Row, Schooling};
use crate::output::Directory;
use crate::steering::{self, Estimator, Plan};
use crate::{Context, Result};
use mfm_core::interpolant::Linear;
use mfm_core::{Flow, Tensor};
use serde::Serialize;
use std::path::PathBuf;

/// The options of `mfm mnist`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The images of digits, an IDX file (idx3-ubyte, compressed or not), with their labels (idx1-ubyte) beside it
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// The folder for models and pictures
    #[arg(long, value_name = "DIR", default_value = "mfm-mnist")]
    pub out: PathBuf,
    /// Take the models that an earlier run left in the folder, and go on with one that it was training, instead of beginning anew
    #[arg(long)]
    pub reuse: bool,
    /// The transformer's width, depth and heads
    #[arg(long, value_name = "SIZE", default_value = "128x6x4", value_parser = Form::parse)]
    pub size: Form,
    /// The side of its patches
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = crate::arguments::at_least_one, allow_negative_numbers = true)]
    pub patch: usize,
    /// The training batch of the models; fine-tuning, whose loss is noisier, takes four times as many
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = crate::arguments::at_least_one, allow_negative_numbers = true)]
    pub batch: usize,
    /// Training steps of the flow model
    #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = crate::arguments::steps, allow_negative_numbers = true)]
    pub flow_steps: u64,
    /// Training steps of the Meta Flow Map
    #[arg(long, value_name = "N", default_value_t = 8_000, value_parser = crate::arguments::steps, allow_negative_numbers = true)]
    pub map_steps: u64,
    /// Steps of fine-tuning
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = crate::arguments::steps, allow_negative_numbers = true)]
    pub fine_tuning_steps: u64,
    /// Steer by these estimators alone, separated by commas [default: all]
    #[arg(long, value_name = "ESTIMATORS", value_delimiter = ',', value_parser = steering::estimators())]
    pub estimators: Vec<Estimator>,
    /// A few steps of everything, to see that it runs: the samples are worth nothing
    #[arg(long, hide = true)]
    pub quick: bool,
}

/// How much is done besides training.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Training steps between two checkpoints.
    checkpoint_every: u64,
    classifier_steps: u64,
    /// The width of the classifiers' hidden layers, in the last of which Fréchet distances are taken.
    classifier_width: usize,
    /// Samples whose Fréchet distance is taken.
    judged: usize,
    /// Steps of the flow model's ODE.
    ode_steps: usize,
    /// Samples of each estimator.
    samples: usize,
}

impl Effort {
    const WHOLE: Self =
        Self { checkpoint_every: 500, classifier_steps: 3_000, classifier_width: 256, judged: 2_000, ode_steps: 100, samples: 1024 };
    const QUICK: Self = Self { checkpoint_every: 1, classifier_steps: 20, classifier_width: 32, judged: 64, ode_steps: 2, samples: 64 };
}

/// What `--json` gives.
#[derive(Debug, Serialize)]
struct Results<'a> {
    seed: u64,
    data: &'a str,
    parameters: usize,
    reward_accuracy: f64,
    judge_accuracy: f64,
    /// Seconds of training; none for a model that an earlier run left or began.
    flow_seconds: Option<f64>,
    map_seconds: Option<f64>,
    fine_tuning_seconds: Option<f64>,
    quality: &'a [Quality],
    samples: usize,
    /// √(Σ w(1−w)/n): the L2 distance that exact samples would have on average.
    l2_floor: f64,
    rows: Vec<Row>,
    seconds: f64,
}

/// Runs `mfm mnist`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let effort = if arguments.quick { Effort::QUICK } else { Effort::WHOLE };
    let digits = Digits::of(&data::load(&arguments.data, LabelColumn::None)?)?;
    let out = Directory::create(&arguments.out)?;
    context.say(format!("{} digits to train on, {} held out", digits.train.len(), digits.held_out.len()));
    let models = Models { context, arguments, digits: &digits, out: &out, checkpoint_every: effort.checkpoint_every };
    models.begin()?;
    let experts = Experts::train(
        context,
        &digits,
        &Schooling { widths: [effort.classifier_width; 2], steps: effort.classifier_steps, distorted: true },
    )?;
    let teacher = models.flow()?;
    let map = models.map(&teacher.model)?;

    let quality = quality::measure(context, &digits, &experts, &teacher.model, &map.model, &effort)?;
    context.table(&quality::table(&quality))?;
    context.print(quality::EXPLANATION)?;
    let flow = Flow::new(&map.model, &Linear);
    digits::samples(context, &flow, &digits, &out)?;
    digits::posteriors(context, &flow, &experts.reward, &digits, &out)?;
    digits::values(context, &flow, &experts.reward, &digits, &out)?;

    let (mut plans, all) = (plans(arguments.quick), &arguments.estimators);
    let plain = plans[0].clone();
    plans.retain(|plan| all.is_empty() || all.contains(&plan.estimator));
    let mut runs = digits::run_all(context, &flow, &experts, &digits, &plans, effort.samples)?;
    let tuned = models.fine_tuned(&map.model, &experts.reward)?;
    runs.push(digits::run(context, "fine-tuned", &Flow::new(&tuned.model, &Linear), &experts, &digits, &plain, effort.samples)?);
    digits::steered(&runs, &digits, &out)?;
    digits::classes(&runs, &out)?;

    context.table(&digits::table(&runs))?;
    context.print(experts.explanation(effort.samples))?;
    context.print(format!(
        "\nIn {}: flow.mfm, map.mfm and fine-tuned.mfm, the models; samples.png, posteriors.png, values.png, steered.png and classes.png, as `mfm demo` draws them.",
        out.path().display()
    ))?;
    context.results(&Results {
        seed: context.seed,
        data: &digits.train.source,
        parameters: mfm_nn::Module::parameter_count(&map.model),
        reward_accuracy: experts.reward_accuracy,
        judge_accuracy: experts.judge_accuracy,
        flow_seconds: teacher.seconds,
        map_seconds: map.seconds,
        fine_tuning_seconds: tuned.seconds,
        quality: &quality,
        samples: effort.samples,
        l2_floor: experts.l2_floor(effort.samples),
        rows: runs.into_iter().map(|run| run.row).collect(),
        seconds: context.seconds(),
    })
}

/// Every line of the table, the unsteered one first: each estimator at several numbers of draws, and so of evaluations.
fn plans(quick: bool) -> Vec<Plan> {
    use Estimator::{BestOfN, Dps, Mcmc, MfmG, MfmGf, MfmSmc, Resampled, Search, Smc, Unsteered};
    let mcmc = |fresh, moves| Plan { moves, ..Plan::new(Mcmc, fresh, 8) };
    let all = vec![
        Plan::new(Unsteered, 0, 25),
        Plan::new(Dps, 0, 25),
        Plan::new(Dps, 0, 50),
        Plan::new(MfmG, 1, 25),
        Plan::new(MfmG, 4, 25),
        Plan::new(MfmG, 16, 25),
        Plan::new(MfmGf, 4, 25),
        Plan::new(MfmGf, 16, 25),
        Plan::new(Resampled, 8, 4),
        Plan::new(Resampled, 8, 8),
        Plan::new(Resampled, 32, 8),
        Plan::new(Smc, 0, 25),
        Plan::new(MfmSmc, 8, 8),
        Plan::new(MfmSmc, 8, 16),
        Plan::new(MfmSmc, 32, 16),
        Plan::new(MfmSmc, 8, 25).by_sde(),
        mcmc(4, 2),
        mcmc(8, 4),
        Plan::new(BestOfN, 8, 4),
        Plan::new(Search, 8, 8),
    ];
    if quick { all.into_iter().map(|plan| Plan { steps: 2, draws: plan.draws.min(2), ..plan }).collect() } else { all }
}
