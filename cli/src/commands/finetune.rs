//! `mfm finetune`: a model whose own samples are aimed at a reward.

use super::destination::{Destination, Groups, Samples};
use crate::arguments::{at_least_one, not_negative, positive, share, time};
use crate::context::Context;
use crate::data::{self, LabelColumn, Source, Values};
use crate::failure::{Failure, Place, Result};
use crate::finetune::{self, FineTuned, Kept, Row, Settings};
use crate::model::{ConditionArguments, LoadedModel, save, shape};
use crate::reward::{self, AnyReward};
use crate::run::{Checkpoint, Options, RunFolder};
use crate::table::{Table, count, number};
use mfm_core::training::{AdaptiveWeight, FineTuning, WeightSlope};
use mfm_core::{Device, Flow, Noise, Reward, Tensor};
use mfm_nn::file::LIBRARY;
use mfm_nn::file::jumps::fine_tuned;
use mfm_nn::train::{DataSource, FineTuningConfig, own_samples};
use mfm_nn::{LearningRate, Model, Module, TrainingConfig};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// The options of `mfm finetune`.
///
/// What is trained is the drift: draw samples of the outcome by `mfm sample --ode`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The model file to start from
    #[arg(required_unless_present = "resume")]
    pub model: Option<PathBuf>,
    #[arg(long, value_name = "REWARD", help = reward::HELP, next_line_help = true, required_unless_present = "resume")]
    #[allow(missing_docs)] // the help is its documentation
    pub reward: Option<String>,
    /// The model file to write; what is fine-tuned is its drift, so sample it by `mfm sample --ode`
    #[arg(short, long, value_name = "MODEL", required_unless_present = "run")]
    pub out: Option<PathBuf>,
    /// Keep all of the run in this folder: its options, its log, its checkpoint and its model
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub run: Option<PathBuf>,
    /// Steps between two checkpoints in the run's folder
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = crate::arguments::steps, allow_negative_numbers = true)]
    pub checkpoint_every: u64,
    /// Steps between two lines of the log in the run's folder
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = crate::arguments::steps, allow_negative_numbers = true)]
    pub log_every: u64,
    /// Go on with the run in the folder, with the options that it keeps; the weights will be those of a run that was never interrupted
    #[arg(long, requires = "run")]
    pub resume: bool,
    /// All options by their names, for the run's folder.
    #[arg(skip)]
    pub options: Options,
    /// Samples to train on, which may be of any law; whatever `mfm train` takes [default: samples of the model, in one step]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// The column of the data that holds labels: none, first, last, or a number counted from 1
    #[arg(long, value_name = "COLUMN", default_value = "none")]
    pub label_column: LabelColumn,
    /// The condition; with data that have labels, that of the samples by which the outcome is judged
    #[command(flatten)]
    pub condition: ConditionArguments,
    /// A picture of samples before and after
    #[arg(long, value_name = "FILE.png")]
    pub picture: Option<PathBuf>,

    /// λ: the aim is p(x) exp(λ r(x))
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive, allow_negative_numbers = true, help_heading = "Objective")]
    pub strength: f64,
    /// Learn from the weights of several posterior draws and from where these lie instead of from the reward's gradient, which hardly speaks where the reward
    /// is flat, as that of a sure classifier within a class
    #[arg(long, help_heading = "Objective")]
    pub gradient_free: bool,
    /// Posterior draws of each noisy state: more, less noise [default: 1, and 4 with --gradient-free, the least then 2]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true, help_heading = "Objective")]
    pub draws: Option<usize>,
    /// Take the weights exp(λ r) as they are, instead of dividing them by their running mean
    #[arg(long, help_heading = "Objective")]
    pub raw: bool,
    /// The earliest time that is trained
    #[arg(long, value_name = "T", default_value_t = 0.02, value_parser = time, allow_negative_numbers = true, help_heading = "Objective")]
    pub earliest: f64,
    /// The power p of the adaptive weight (‖Δ‖² + 0.01)^−p: above 0 less noise, and another aim than the tilted law
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = not_negative, allow_negative_numbers = true, help_heading = "Objective")]
    pub adaptive_power: f64,
    /// Let the rest of the map, its posteriors and jumps, follow the drift by a loss of this weight
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.0, value_parser = not_negative, allow_negative_numbers = true, help_heading = "Objective")]
    pub follow: f64,

    /// Training steps
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = crate::arguments::steps, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub steps: u64,
    /// Samples in a batch
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = at_least_one, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub batch: usize,
    /// The learning rate
    #[arg(long, value_name = "RATE", default_value_t = 3e-4, value_parser = positive, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub learning_rate: f64,
    /// Steps over which the learning rate rises, before it falls along a cosine
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = crate::arguments::whole::<u64>, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub warm_up: u64,
    /// The largest norm of the gradient, 0 for no limit
    #[arg(long, value_name = "NORM", default_value_t = 1.0, value_parser = not_negative, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub clip: f64,
    /// The decay of the moving average of the weights, 0 for none
    #[arg(long, value_name = "DECAY", default_value_t = 0.99, value_parser = share, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub ema: f64,
    /// Samples by which the mean reward is estimated on the way
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = at_least_one, allow_negative_numbers = true)]
    pub samples: usize,
}

impl Arguments {
    fn settings<T: Tensor>(&self, context: &Context<T>) -> Settings {
        let (slope, usual_draws) = if self.gradient_free { (WeightSlope::Covariance, 4) } else { (WeightSlope::Pathwise, 1) };
        Settings {
            training: TrainingConfig {
                steps: self.steps,
                batch: self.batch,
                rate: LearningRate::cosine(self.learning_rate, self.warm_up.min(self.steps / 2)),
                clip: (self.clip > 0.0).then_some(self.clip),
                average: (self.ema > 0.0).then_some(self.ema),
                // Not the seed itself, whose forks are the steps of the run that made the model.
                seed: context.derived_seed(0),
                ..TrainingConfig::default()
            },
            tuning: FineTuningConfig {
                objective: FineTuning {
                    strength: self.strength,
                    slope,
                    draws: self.draws.unwrap_or(usual_draws),
                    earliest: self.earliest,
                    weight: AdaptiveWeight { power: self.adaptive_power, ..AdaptiveWeight::NONE },
                    ..FineTuning::default()
                },
                normalised: !self.raw,
                follow: self.follow,
            },
            samples: self.samples,
        }
    }

    /// What was done, for the file.
    fn describe(&self, base: &str, reward: &str) -> String {
        let weights = if self.raw { "raw" } else { "normalised" };
        let how = if self.gradient_free { ", without its gradient" } else { "" };
        fine_tuned(base, &format!("{} times {reward}{how}, {weights} weights", self.strength), self.follow)
    }
}

/// The share of a step's posterior draws, beside the one that always counts, below which their weights have collapsed.
const COLLAPSED: f64 = 0.01;

#[derive(Debug, Serialize)]
struct Report<'a> {
    model: String,
    base: &'a str,
    reward: &'a str,
    steps: u64,
    mean_reward_before: f64,
    mean_reward_after: f64,
    /// ≈ log E exp(λ r) over the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_mean_weight: Option<f64>,
    /// Of the weights of a step's posterior draws, the mean over the steps below.
    effective_sample_size: f64,
    /// The posterior draws of a step.
    draws: usize,
    losses: &'a [Row],
    seconds: f64,
}

/// Runs `mfm finetune`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let (Some(base), Some(wanted)) = (&arguments.model, &arguments.reward) else {
        return Err(Failure::input(
            "<MODEL> and --reward: there is no run yet to go on with, so it must be told what to fine-tune, and to what",
        ));
    };
    if arguments.data.is_none() && arguments.label_column != LabelColumn::None {
        return Err(Failure::input("--label-column: it is a column of --data, which is not given"));
    }
    let (folder, out) = RunFolder::place(arguments.run.as_deref(), arguments.out.as_deref(), arguments.resume)?;
    let model = LoadedModel::<T>::load(base, &context.device)?;
    let dimension = model.dimension();
    let picture = arguments.picture.as_deref().map(|path| Destination::picture(path, dimension)).transpose()?;
    let flow = model.flow(&arguments.condition)?;
    let data = arguments.data.as_ref().map(|path| data::open(path, arguments.label_column)).transpose()?;
    if let Some(data) = &data {
        check(arguments, &model, data)?;
    }
    let data = data.map(|data| data.entering(model.coordinates())).transpose()?;
    let of_data = AnyReward::new(context, wanted, dimension)?;
    let reward = model.reward(&of_data)?;
    model.warn_of_jumps(context, None);
    let noise = context.device.normal(&context.noise.fork(1), shape(arguments.samples, dimension)?)?;
    let before = Drawn::new(&model, &flow, &reward, &noise)?;
    context.say(format!("before: mean reward {}", number(before.mean_reward, 4)));

    let mut header = model.header.clone();
    header.provenance.steps = header.steps_made() + arguments.steps;
    header.provenance.seed = context.seed;
    header.provenance.data = data.as_ref().map_or_else(|| "its own samples".into(), |data| data.name().to_owned());
    header.provenance.objective = arguments.describe(&model.source, wanted);
    header.provenance.library = LIBRARY.into();
    // What is refused leaves no folder.
    let settings = arguments.settings(context);
    settings.training.check()?;
    settings.tuning.check().at(&model.source)?;
    let kept = match &folder {
        Some(folder) => {
            folder.create(&arguments.options)?;
            let checkpoint = Checkpoint::new(&folder.checkpoint(), arguments.checkpoint_every, &header, settings.training)?;
            Some(Kept { checkpoint, resume: arguments.resume, log: Some((folder.log(), arguments.log_every)) })
        }
        None => None,
    };
    let start = Instant::now();
    let tuned = train(context, arguments, &model, &flow, &reward, data.as_ref(), kept.as_ref()).at(&model.source)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = Drawn::new(&model, &Flow { map: &tuned.model.to_working()?, ..flow }, &reward, &noise)?;
    save(&out, &tuned.model, &header)?;

    if let Some(picture) = picture {
        let title = format!("Mean reward {} before, {} after", number(before.mean_reward, 3), number(after.mean_reward, 3));
        let mut rows = before.rows;
        rows.extend(after.rows);
        picture.write(context, &Samples { title: &title, rows: &rows, dimension, groups: Groups::Named(&["before", "after"]) })?;
    }
    let out = out.display().to_string();
    let mut table = Table::new(["model", "steps", "reward before", "reward after", "effective sample size", "seconds"]);
    let draws = settings.training.batch.saturating_mul(settings.tuning.objective.draws);
    let size = tuned.rows.iter().map(|row| row.effective_sample_size).sum::<f64>() / tuned.rows.len().max(1) as f64;
    let counted = format!("{} of {}", number(size, 3), count(draws));
    if draws > 1 && size - 1.0 < COLLAPSED * (draws - 1) as f64 {
        context.say(format!(
            "warning: the weights have collapsed: {counted} posterior draws counted in a step, so what was learned is mostly noise; lower --strength, or raise \
             --batch or --draws"
        ));
    }
    let (old, new) = (number(before.mean_reward, 4), number(after.mean_reward, 4));
    table.row([out.clone(), count(arguments.steps as usize), old, new, counted, number(seconds, 3)]);
    context.table(&table)?;
    context.results(&Report {
        model: out,
        base: &model.source,
        reward: wanted,
        steps: arguments.steps,
        mean_reward_before: before.mean_reward,
        mean_reward_after: after.mean_reward,
        log_mean_weight: tuned.log_mean,
        effective_sample_size: size,
        draws,
        losses: &tuned.rows,
        seconds,
    })
}

/// Samples by the ODE, with their mean reward.
struct Drawn {
    rows: Values,
    mean_reward: f64,
}

impl Drawn {
    fn new<T: Tensor>(model: &LoadedModel<T>, flow: &Flow<'_, Model<T>>, reward: &impl Reward<T>, noise: &T) -> Result<Self> {
        let samples = finetune::sample(flow, noise).at(&model.source)?;
        let rows = model.numbers(&samples)?;
        let rewards = reward.value(&samples).at(&model.source)?.to_vec::<f64>()?;
        Ok(Self { rows, mean_reward: rewards.iter().sum::<f64>() / rewards.len() as f64 })
    }
}

/// That a model can be fine-tuned on these data.
fn check<T: Tensor>(arguments: &Arguments, model: &LoadedModel<T>, data: &Source) -> Result<()> {
    if data.dimension() != model.dimension() {
        let (found, wanted) = (data.dimension(), model.dimension());
        return Err(Failure::input(format!("{}: each sample has {found} numbers, but {} takes {wanted}", data.name(), model.source)));
    }
    let (known, found) = (model.header.labels(), data.label_count());
    if known == 0 && arguments.label_column != LabelColumn::None {
        return Err(Failure::input(format!("--label-column: {} knows no labels", model.source)));
    }
    if known > 0 && found > known {
        return Err(Failure::input(format!("{} has the label {}, but {} knows {known}", data.name(), found - 1, model.source)));
    }
    Ok(())
}

fn train<T: Tensor>(
    context: &Context<T>,
    arguments: &Arguments,
    model: &LoadedModel<T>,
    flow: &Flow<'_, Model<T>>,
    reward: &impl Reward<T>,
    data: Option<&Source>,
    kept: Option<&Kept>,
) -> Result<FineTuned<T>> {
    let settings = arguments.settings(context);
    let Some(data) = data else {
        let mut own = own_samples(*flow, &context.device);
        return finetune::fine_tune(context, flow, reward, &mut own, &settings, kept);
    };
    let mut feed = data.feed::<T>(&context.device, model.header.labels() > 0, settings.training.seed, settings.training.batch)?;
    let mut labelled = |step: u64, size: usize, noise: &Noise| {
        let samples = feed.batch(step, size, noise)?;
        let labels = samples.labels.or_else(|| arguments.condition.label.map(|label| vec![label; size]));
        Ok(mfm_nn::train::Samples { labels, ..samples })
    };
    let outcome = finetune::fine_tune(context, flow, reward, &mut labelled, &settings, kept);
    match feed.broken {
        Some(failure) => Err(failure),
        None => outcome,
    }
}
