//! The options of `mfm finetune`.

use crate::arguments::{at_least_one, not_negative, positive, share, time};
use crate::context::Context;
use crate::data::LabelColumn;
use crate::model::ConditionArguments;
use crate::reward;
use crate::run::Options;
use crate::training::fine_tuning::Settings;
use mfm_core::Tensor;
use mfm_core::training::{AdaptiveWeight, FineTuning, WeightSlope};
use mfm_nn::train::FineTuningConfig;
use mfm_nn::{LearningRate, TrainingConfig};
use std::path::PathBuf;

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
    /// The settings of the run.
    pub(super) fn settings<T: Tensor>(&self, context: &Context<T>) -> Settings {
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

    /// What is done, for the file.
    pub(super) fn describe(&self, base: &str, reward: &str) -> String {
        let weights = if self.raw { "raw" } else { "normalised" };
        let how = if self.gradient_free { ", without its gradient" } else { "" };
        let follows = if self.follow > 0.0 { format!(", the rest of the map following by {}", self.follow) } else { String::new() };
        format!("the drift of {base} fine-tuned to {} times {reward}{how}, {weights} weights{follows}", self.strength)
    }
}
