//! `mfm demo`: real digits, end to end.

mod digits;
mod models;
mod pictures;
mod steered;

use crate::output::Directory;
use crate::table::number;
use crate::{Context, Result, Table};
use digits::Digits;
use mfm_core::interpolant::Linear;
use mfm_core::{Flow, Tensor};
use mfm_nn::ClassMixtureReward;
use serde::Serialize;
use std::path::PathBuf;
use steered::Row;

/// The options of `mfm demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder for pictures
    #[arg(long, value_name = "DIR", default_value = "mfm-demo")]
    pub out: PathBuf,
}

/// The wanted share of each class, before normalisation: exp r(x) = Σ wᵢ p(yᵢ | x).
const WANTED: [f64; 10] = [0.0, 1.0, 0.0, 1.0, 0.0, 2.0, 0.0, 2.0, 0.0, 4.0];

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
    let out = Directory::create(&arguments.out)?;
    let digits = Digits::load()?;
    context.say(format!("{} digits to train on, {} held out", digits.train.len(), digits.held_out.len()));

    let half = digits.halves();
    let classifier = models::classifier(context, "training the reward's classifier", &half[0], 128, &context.noise.fork(1))?;
    let judge = models::classifier(context, "training the judge", &half[1], 160, &context.noise.fork(2))?;
    let (reward_accuracy, judge_accuracy) = (digits.accuracy(context, &classifier)?, digits.accuracy(context, &judge)?);
    let weights: Vec<(usize, f64)> = WANTED.iter().copied().enumerate().collect();
    let reward = ClassMixtureReward::new(classifier, &weights)?;

    let model = models::meta_flow_map(context, &digits)?;
    let flow = Flow::new(&model, &Linear);

    pictures::samples(context, &flow, &digits, &out)?;
    pictures::posteriors(context, &flow, &reward, &digits, &out)?;
    pictures::values(context, &flow, &reward, &digits, &out)?;

    let total: f64 = WANTED.iter().sum();
    let wanted = WANTED.map(|w| w / total);
    let runs = steered::run_all(context, &flow, &reward, &judge, &wanted)?;
    pictures::steered(&runs, &out)?;
    pictures::classes(&runs, &wanted, &out)?;

    let l2_floor = (wanted.iter().map(|w| w * (1.0 - w)).sum::<f64>() / steered::SAMPLES as f64).sqrt();
    let mut table = Table::new(["estimator", "sampler", "draws", "steps", "evaluations", "L2 to the class mixture", "seconds"]);
    let dash = |n: usize| if n == 0 { "–".to_owned() } else { n.to_string() };
    for run in &runs {
        let row = &run.row;
        table.row([
            row.estimator.to_owned(),
            row.sampler.to_owned(),
            dash(row.draws),
            row.steps.to_string(),
            row.evaluations.to_string(),
            number(row.l2, 3),
            format!("{:.1}", row.seconds),
        ]);
    }
    context.table(&table)?;
    context.print(format!(
        "\nL2 is between the shares of the classes among {} samples, told by a classifier that the reward does not use ({:.1} % right on held-out \
         digits; the reward's own {:.1} %), and w ∝ [0,1,0,1,0,2,0,2,0,4]; exact samples would come to about {:.3}.\nAn evaluation is a pass through the \
         network for one sample; a backward pass counts two.",
        steered::SAMPLES,
        100.0 * judge_accuracy,
        100.0 * reward_accuracy,
        l2_floor
    ))?;
    context.print(format!(
        "\nPictures in {}:\n  samples.png     real digits, and samples of the model in one, two and four steps\n  posteriors.png  held-out digits under noise, with one-step draws \
         of what they may have been\n  values.png      the value of a state along t, for wanted and unwanted digits\n  steered.png     samples of each \
         estimator\n  classes.png     the shares of their classes, against the wanted ones",
        out.path().display()
    ))?;
    let rows = runs.into_iter().map(|run| run.row).collect();
    context.results(&Results {
        seed: context.seed,
        reward_accuracy,
        judge_accuracy,
        samples: steered::SAMPLES,
        l2_floor,
        rows,
        seconds: context.seconds(),
    })
}
