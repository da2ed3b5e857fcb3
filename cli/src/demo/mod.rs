//! `mfm demo`: real digits, end to end.

mod digits;
mod models;
mod pictures;
mod steered;

use crate::output::Directory;
use crate::steering::dash;
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
    let size = if arguments.quick { Size::QUICK } else { Size::WHOLE };
    let out = Directory::create(&arguments.out)?;
    let digits = Digits::load()?;
    context.say(format!("{} digits to train on, {} held out", digits.train.len(), digits.held_out.len()));

    let half = digits.halves();
    let classifier = models::classifier(context, "training the reward's classifier", &half[0], 128, 1, &size)?;
    let judge = models::classifier(context, "training the judge", &half[1], 160, 2, &size)?;
    let (reward_accuracy, judge_accuracy) = (digits.accuracy(context, &classifier)?, digits.accuracy(context, &judge)?);
    let weights: Vec<(usize, f64)> = WANTED.iter().copied().enumerate().collect();
    let reward = ClassMixtureReward::new(classifier, &weights)?;

    let model = models::meta_flow_map(context, &digits, &size)?;
    let flow = Flow::new(&model, &Linear);

    pictures::samples(context, &flow, &digits, &out)?;
    pictures::posteriors(context, &flow, &reward, &digits, &out)?;
    pictures::values(context, &flow, &reward, &digits, &out)?;

    let total: f64 = WANTED.iter().sum();
    let wanted = WANTED.map(|w| w / total);
    let runs = steered::run_all(context, &flow, &reward, &judge, &wanted, &size)?;
    pictures::steered(&runs, &out)?;
    pictures::classes(&runs, &wanted, &out)?;

    let l2_floor = (wanted.iter().map(|w| w * (1.0 - w)).sum::<f64>() / size.samples as f64).sqrt();
    let mut table = Table::new(["estimator", "sampler", "draws", "steps", "evaluations", "L2 to the class mixture", "seconds"]);
    for Row { run, l2, .. } in runs.iter().map(|run| &run.row) {
        table.row([
            run.estimator.to_owned(),
            run.sampler.to_owned(),
            dash(run.draws),
            run.steps.to_string(),
            run.evaluations.to_string(),
            number(*l2, 3),
            format!("{:.1}", run.seconds),
        ]);
    }
    context.table(&table)?;
    context.print(format!(
        "\nL2 is between the shares of the classes among {} samples, told by a classifier that the reward does not use ({:.1} % right on held-out \
         digits; the reward's own {:.1} %), and w ∝ [0,1,0,1,0,2,0,2,0,4]; exact samples would come to about {:.3}.\nAn evaluation is a pass through the \
         network for one sample; a backward pass counts two.",
        size.samples,
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
        samples: size.samples,
        l2_floor,
        rows,
        seconds: context.seconds(),
    })
}
