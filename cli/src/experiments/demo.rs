//! `mfm demo`: real digits, end to end.

use crate::experiments::digits::{self, Digits, Experts, Row, Schooling};
use crate::output::Directory;
use crate::steering::{Estimator, Plan};
use crate::training::train;
use crate::{Context, Result};
use mfm_core::interpolant::Linear;
use mfm_core::training::{Objective, Velocities};
use mfm_core::{Flow, Tensor};
use mfm_nn::mlp::MlpConfig;
use mfm_nn::schedule::LearningRate;
use mfm_nn::train::TrainingConfig;
use mfm_nn::{GaussianConfig, Model, ModelConfig};
use serde::Serialize;
use std::path::PathBuf;

/// The options of `mfm demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder for pictures
    #[arg(long, value_name = "DIR", default_value = "mfm-demo")]
    pub out: PathBuf,
    /// A few steps of everything, to see that it runs: the samples are worth nothing
    #[arg(long, hide = true)]
    pub quick: bool,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Training steps of a classifier.
    classifier_steps: u64,
    /// Training steps of the Meta Flow Map.
    map_steps: u64,
    /// Its training batch.
    batch: usize,
    /// Samples of each estimator.
    samples: usize,
    /// Time steps of a guided ODE.
    time_steps: usize,
}

impl Size {
    const WHOLE: Self = Self { classifier_steps: 1_500, map_steps: 2_400, batch: 512, samples: 1024, time_steps: 50 };
    const QUICK: Self = Self { classifier_steps: 20, map_steps: 5, batch: 32, samples: 64, time_steps: 2 };
}

/// What `--json` gives.
#[derive(Debug, Serialize)]
struct Results {
    seed: u64,
    reward_accuracy: f64,
    judge_accuracy: f64,
    samples: usize,
    /// √(Σ w(1−w)/n): the L2 distance that exact samples would have on average.
    l2_floor: f64,
    rows: Vec<Row>,
    seconds: f64,
}

/// Runs `mfm demo`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let size = if arguments.quick { Size::QUICK } else { Size::WHOLE };
    let out = Directory::create(&arguments.out)?;
    let digits = Digits::built_in()?;
    context.say(format!("{} digits to train on, {} held out", digits.train.len(), digits.held_out.len()));
    let experts = Experts::train(context, &digits, &Schooling { widths: [128, 160], steps: size.classifier_steps, distorted: false })?;
    let model = meta_flow_map(context, &digits, &size)?;
    let flow = Flow::new(&model, &Linear);

    digits::samples(context, &flow, &digits, &out)?;
    digits::posteriors(context, &flow, &experts.reward, &digits, &out)?;
    digits::values(context, &flow, &experts.reward, &digits, &out)?;
    let runs = digits::run_all(context, &flow, &experts, &digits, &plans(&size), size.samples)?;
    digits::steered(&runs, &digits, &out)?;
    digits::classes(&runs, &out)?;

    context.table(&digits::table(&runs))?;
    context.print(experts.explanation(size.samples))?;
    context.print(format!(
        "\nPictures in {}:\n  samples.png     real digits, and samples of the model in one, two and four steps\n  posteriors.png  held-out digits under noise, with one-step draws \
         of what they may have been\n  values.png      the value of a state along t, for wanted and unwanted digits\n  steered.png     samples of each \
         estimator\n  classes.png     the shares of their classes, against the wanted ones",
        out.path().display()
    ))?;
    context.results(&Results {
        seed: context.seed,
        reward_accuracy: experts.reward_accuracy,
        judge_accuracy: experts.judge_accuracy,
        samples: size.samples,
        l2_floor: experts.l2_floor(size.samples),
        rows: runs.into_iter().map(|run| run.row).collect(),
        seconds: context.seconds(),
    })
}

/// Every estimator of the table.
fn plans(size: &Size) -> [Plan; 6] {
    let (many, few) = (size.time_steps, size.time_steps.min(8));
    [
        Plan::new(Estimator::Unsteered, 0, many),
        Plan::new(Estimator::Dps, 0, many),
        Plan::new(Estimator::MfmG, 8, many),
        Plan::new(Estimator::MfmGf, 32, many),
        Plan::new(Estimator::Resampled, 32, few),
        Plan { moves: 4, ..Plan::new(Estimator::Mcmc, 8, few) },
    ]
}

/// A class-agnostic Meta Flow Map of the digits: a preconditioned MLP.
fn meta_flow_map<T: Tensor>(context: &Context<T>, digits: &Digits, size: &Size) -> Result<Model<T>> {
    let data = &digits.train;
    let (gaussian, mean) = GaussianConfig::of_data(&data.rows, data.dimension)?;
    let network = MlpConfig { width: 512, depth: 4, ..MlpConfig::new(data.dimension) };
    let config = ModelConfig::mlp(network).preconditioned(gaussian);
    let fresh = Model::new(&context.device, &config, &mean, &context.noise.fork(3))?;
    let settings = TrainingConfig {
        steps: size.map_steps,
        batch: size.batch,
        rate: LearningRate::cosine(1e-3, 100.min(size.map_steps / 5)),
        seed: context.derived_seed(5),
        average: Some(0.995),
        ..TrainingConfig::default()
    };
    let objective = Objective::default();
    let trainer = train(context, "training the Meta Flow Map", settings, &fresh, &mut digits::unlabelled(context, data), |input| {
        let flow = Flow::new(input.frozen, &Linear);
        objective.loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
    })?;
    Ok(trainer.averaged()?)
}
