//! The options of `mfm train`.

use crate::arguments::{at_least_one, not_negative, positive, share};
use crate::data::LabelColumn;
use crate::run::Options;
use clap::ValueEnum;
use mfm_core::Interpolant;
use mfm_core::interpolant::{Linear, Trigonometric, VariancePreserving};
use mfm_core::training::{Consistency, FlowTimes, Ramp, StopGradient, TimeLaw, TimeSchedule};
use mfm_nn::DitSize;
use std::path::PathBuf;

/// The options of `mfm train`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The data: a .csv, .tsv, .csv.gz or .npy file of one sample a row, or - for such text on standard input; IDX images (idx3-ubyte, compressed or not; labels from idx1-ubyte beside it); a folder with
    /// a folder of .png or .jpg images for each class; or a folder of .safetensors shards with n latents of c × h × w and n labels
    #[arg(required_unless_present_any = ["digits", "resume"], conflicts_with = "digits")]
    pub data: Option<PathBuf>,
    /// Train on the built-in handwritten digits (8×8, with labels)
    #[arg(long)]
    pub digits: bool,
    /// The column of the data that holds labels: none, first, last, or a number counted from 1
    #[arg(long, value_name = "COLUMN", default_value = "none")]
    pub label_column: LabelColumn,
    /// Train on the columns of a table as they are. Without it, an MLP is trained on standardised columns, (x − mean)/deviation: the model's flow runs in these
    /// from N(0, I), and its file keeps means and deviations (1 for a column that does not vary), so that all that is given to it and comes from it stays in the
    /// units of the data. Images and shards are never standardised; a model with --teacher or --initial is trained as that was
    #[arg(long)]
    pub raw: bool,
    /// Read all shards before training, to find what is not finite there, rather than when its turn comes
    #[arg(long)]
    pub check_data: bool,
    /// The model file to write
    #[arg(short, long, value_name = "MODEL", required_unless_present = "run")]
    pub out: Option<PathBuf>,
    /// Keep all of the run in this folder: its options, its log, its checkpoint and its model
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "checkpoint"])]
    pub run: Option<PathBuf>,
    /// Save the run to this file now and then
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Steps between two checkpoints
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = crate::arguments::steps, allow_negative_numbers = true)]
    pub checkpoint_every: u64,
    /// Steps between two lines of the log in the run's folder
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = crate::arguments::steps, allow_negative_numbers = true)]
    pub log_every: u64,
    /// Go on from the checkpoint, if it is there, with the options that the run's folder keeps; the weights will be those of a run that was never interrupted
    #[arg(long)]
    pub resume: bool,
    /// All options by their names, for the run's folder.
    #[arg(skip)]
    pub options: Options,

    /// The kind of network
    #[arg(long, value_name = "NETWORK", default_value = "mlp", help_heading = "Network")]
    pub network: Kind,
    /// The size of a transformer: s, b, l, xl, or its width, depth and heads, as in 128x6x4
    #[arg(long, value_name = "SIZE", default_value = "128x6x4", value_parser = Size::parse, help_heading = "Network")]
    pub size: Size,
    /// The side of a transformer's patches
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = at_least_one, allow_negative_numbers = true, help_heading = "Network")]
    pub patch: usize,
    /// The channels of the images that a transformer takes; they are square [default: those of the data, where they are known, else 1]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true, help_heading = "Network")]
    pub channels: Option<usize>,
    /// Start from the weights of this model, of the same form
    #[arg(long, value_name = "MODEL", help_heading = "Network")]
    pub initial: Option<PathBuf>,
    /// The width of an MLP's hidden layers
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one, allow_negative_numbers = true, help_heading = "Network")]
    pub width: usize,
    /// The number of an MLP's hidden layers
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one, allow_negative_numbers = true, help_heading = "Network")]
    pub depth: usize,
    /// The number of frequencies by which each time enters an MLP
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one, allow_negative_numbers = true, help_heading = "Network")]
    pub frequencies: usize,
    /// Gaussian preconditioning: the network learns only what a Gaussian does not know
    #[arg(long, value_name = "WHETHER", default_value = "on", help_heading = "Network")]
    pub precondition: Switch,
    /// Condition the model on the data's labels
    #[arg(long, help_heading = "Network")]
    pub labels: bool,

    /// The path from noise to data
    #[arg(long, value_name = "PATH", default_value = "linear", help_heading = "Objective")]
    pub interpolant: Path,
    /// The loss that makes jumps agree with the velocity
    #[arg(long, visible_alias = "objective", value_name = "LOSS", default_value = "semigroup", help_heading = "Objective")]
    pub consistency: Loss,
    /// Distil this model: velocities are its posterior velocity instead of the data's
    #[arg(long, value_name = "MODEL", help_heading = "Objective")]
    pub teacher: Option<PathBuf>,
    /// The guidance scale that the model learns, with --labels, whatever that of a --teacher; a transformer takes it, or 1, as an input
    #[arg(long, value_name = "SCALE", default_value_t = 1.0, value_parser = guidance_scale, allow_negative_numbers = true, help_heading = "Objective")]
    pub guidance: f64,
    /// The law of the flow times s at which velocities are learned: uniform, logit-normal, or logit-normal:MEAN,DEVIATION
    #[arg(long, value_name = "LAW", default_value = "uniform", value_parser = flow_times, help_heading = "Objective")]
    pub flow_times: FlowTimes,
    /// The longest jump u − s in training. This and the next two may change over the first steps: FROM:TO:STEPS, as in 0:1:2000, by which jumps grow from none to all
    #[arg(long, value_name = "SPAN", default_value = "1", value_parser = longest_jump, allow_negative_numbers = true, help_heading = "Objective")]
    pub longest_jump: Ramp,
    /// The share of states at t = 0, where the map is the unconditional one; all others are at t = U^p
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = at_zero, allow_negative_numbers = true, help_heading = "Objective")]
    pub at_zero: Ramp,
    /// The power p of the law of state times t = U^p, U uniform: above 1 for more early ones
    #[arg(long, value_name = "P", default_value = "2", value_parser = state_power, allow_negative_numbers = true, help_heading = "Objective")]
    pub state_power: Ramp,
    /// The power p of the adaptive weight (‖Δ‖² + 0.01)^−p on both losses. Velocities of data are random, so above 0 something between their mean and their mode
    /// is learned; without harm with --teacher
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = not_negative, allow_negative_numbers = true, help_heading = "Objective")]
    pub adaptive_power: f64,
    /// Learn how large the diagonal loss is at each pair of times, and weigh it by that; not with --teacher or --adaptive-power
    #[arg(long, help_heading = "Objective")]
    pub learned_weighting: bool,
    /// The share of labels that are dropped, with --labels
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share, allow_negative_numbers = true, help_heading = "Objective")]
    pub label_dropout: f64,

    /// Training steps
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = crate::arguments::steps, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub steps: u64,
    /// Samples in a batch
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = at_least_one, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub batch: usize,
    /// Parts in which a batch is evaluated, to save memory
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub accumulate: usize,
    /// Run a transformer's blocks again in the backward pass instead of keeping what they computed, to save memory
    #[arg(long, help_heading = "Optimiser")]
    pub recompute: bool,
    /// The method
    #[arg(long, value_name = "METHOD", default_value = "adam", help_heading = "Optimiser")]
    pub optimiser: Optimiser,
    /// The learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-3, value_parser = positive, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub learning_rate: f64,
    /// Steps over which the learning rate rises
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = crate::arguments::whole::<u64>, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub warm_up: u64,
    /// Keep the learning rate instead of lowering it along a cosine
    #[arg(long, help_heading = "Optimiser")]
    pub constant_rate: bool,
    /// Decoupled weight decay
    #[arg(long, value_name = "DECAY", default_value_t = 0.0, value_parser = not_negative, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub weight_decay: f64,
    /// The decay of the moving average of the weights, 0 for none
    #[arg(long, value_name = "DECAY", default_value_t = 0.999, value_parser = share, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub ema: f64,
    /// The largest norm of the gradient, 0 for no limit
    #[arg(long, value_name = "NORM", default_value_t = 1.0, value_parser = not_negative, allow_negative_numbers = true, help_heading = "Optimiser")]
    pub clip: f64,
}

impl Arguments {
    /// The laws of the times in training.
    pub fn times(&self) -> TimeSchedule {
        // A flow model has no states but pure noise.
        let at_zero = if self.consistency == Loss::Flow { Ramp::constant(1.0) } else { self.at_zero };
        TimeSchedule { power: self.state_power, at_zero, span: self.longest_jump, flow: self.flow_times }
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    #[value(alias = "auto")]
    On,
    /// Off.
    Off,
}

/// A kind of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A multi-layer perceptron
    Mlp,
    /// A diffusion transformer, for square images
    Dit,
}

/// Width, depth and heads of a transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub [usize; 3]);

impl Size {
    /// A size by name or by numbers.
    ///
    /// # Errors
    /// What is wrong, for clap to report.
    pub fn parse(text: &str) -> Result<Self, String> {
        let named = match text.to_ascii_lowercase().as_str() {
            "s" => DitSize::S,
            "b" => DitSize::B,
            "l" => DitSize::L,
            "xl" => DitSize::XL,
            other => {
                let numbers: Option<Vec<usize>> = other.split('x').map(|number| number.parse().ok()).collect();
                let numbers = numbers.and_then(|numbers| <[usize; 3]>::try_from(numbers).ok());
                return numbers.map(Self).ok_or_else(|| "it must be s, b, l, xl, or width, depth and heads as in 128x6x4".into());
            }
        };
        let (hidden, depth, heads) = named.numbers();
        Ok(Self([hidden, depth, heads]))
    }
}

/// A guidance scale.
fn guidance_scale(text: &str) -> Result<f64, String> {
    match positive(text)? {
        scale if scale < 1.0 => Err("it must be at least 1".into()),
        scale => Ok(scale),
    }
}

fn longest_jump(text: &str) -> Result<Ramp, String> {
    ramp(text, |span| TimeSchedule { span, ..TimeSchedule::default() })
}

fn at_zero(text: &str) -> Result<Ramp, String> {
    ramp(text, |at_zero| TimeSchedule { at_zero, ..TimeSchedule::default() })
}

fn state_power(text: &str) -> Result<Ramp, String> {
    ramp(text, |power| TimeSchedule { power, ..TimeSchedule::default() })
}

/// A number, or one that changes over the first steps, in the range that it has in a schedule.
fn ramp(text: &str, schedule: impl Fn(Ramp) -> TimeSchedule) -> Result<Ramp, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
    let ramp = match *text.split(':').collect::<Vec<_>>() {
        [value] => Ramp::constant(number(value)?),
        [from, to, steps] => Ramp { from: number(from)?, to: number(to)?, steps: crate::arguments::steps(steps)? },
        _ => return Err("it must be a number, or FROM:TO:STEPS".into()),
    };
    schedule(ramp).check().map_err(|error| error.to_string())?;
    Ok(ramp)
}

/// The law of the flow times: its name, and the mean and deviation of a logit-normal one if they are not 0 and 1.
fn flow_times(text: &str) -> Result<FlowTimes, String> {
    let unknown = || "the laws are uniform, logit-normal, and logit-normal:MEAN,DEVIATION".to_owned();
    let law = match text.split_once(':') {
        None if text == "uniform" => FlowTimes::Uniform,
        None if text == "logit-normal" => FlowTimes::LogitNormal { mean: 0.0, deviation: 1.0 },
        Some(("logit-normal", numbers)) => {
            let (mean, deviation) = numbers.split_once(',').ok_or_else(unknown)?;
            let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
            FlowTimes::LogitNormal { mean: number(mean)?, deviation: number(deviation)? }
        }
        _ => return Err(unknown()),
    };
    TimeLaw { flow: law, ..TimeLaw::default() }.check().map_err(|error| error.to_string())?;
    Ok(law)
}

/// A path from noise to data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Path {
    /// α = 1 − t, β = t
    Linear,
    /// α = cos(πt/2), β = sin(πt/2)
    Trigonometric,
    /// α = √(1 − t²), β = t
    VariancePreserving,
}

impl Path {
    /// The path itself.
    pub fn interpolant(self) -> &'static dyn Interpolant {
        match self {
            Self::Linear => &Linear,
            Self::Trigonometric => &Trigonometric,
            Self::VariancePreserving => &VariancePreserving,
        }
    }
}

/// A consistency loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Loss {
    /// Two jumps make one
    Semigroup,
    /// The average velocity from the data's velocity and a derivative along the path
    MeanFlow,
    /// The same with the model's own velocity
    Eulerian,
    /// The end of a jump moves with the velocity there
    Lagrangian,
    /// None: posterior velocities alone, whose jumps mean nothing
    None,
    /// None, at states of pure noise alone: a flow model, to be a --teacher
    Flow,
}

impl Loss {
    /// The loss itself. A teacher's velocity carries no gradient, so with one it is the jump that must.
    pub fn consistency(self, has_teacher: bool) -> Consistency {
        let stop = if has_teacher { StopGradient::Velocity } else { StopGradient::default() };
        match self {
            Self::Semigroup => Consistency::Semigroup,
            Self::MeanFlow => Consistency::MeanFlow,
            Self::Eulerian => Consistency::Eulerian,
            Self::Lagrangian => Consistency::Lagrangian(stop),
            Self::None | Self::Flow => Consistency::None,
        }
    }
}

/// An optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Optimiser {
    /// Adam, or AdamW with a weight decay
    Adam,
    /// RAdam
    Radam,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_change() {
        assert_eq!(longest_jump("0.5"), Ok(Ramp::constant(0.5)));
        assert_eq!(longest_jump("0:1:2000"), Ok(Ramp { from: 0.0, to: 1.0, steps: 2000 }));
        for (text, why) in [
            ("", "\"\" is not a number"),
            ("0:1", "FROM:TO:STEPS"),
            ("0:1:2:3", "FROM:TO:STEPS"),
            ("0:x:5", "\"x\" is not a number"),
            ("0:1:0", "at least 1"),
            ("0:1.5:9", "the longest jump is 1.5"),
            ("-1:1:9", "the longest jump is -1"),
            ("NaN", "the longest jump is NaN"),
        ] {
            let error = longest_jump(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        assert!(at_zero("0.1:2:5").unwrap_err().contains("the share of the batch at t = 0"));
        assert!(state_power("2:0:5").unwrap_err().contains("the power of the state times"));
    }

    #[test]
    fn laws_of_the_flow_times() {
        let normal = |mean, deviation| Ok(FlowTimes::LogitNormal { mean, deviation });
        assert_eq!(flow_times("uniform"), Ok(FlowTimes::Uniform));
        assert_eq!(flow_times("logit-normal"), normal(0.0, 1.0));
        assert_eq!(flow_times("logit-normal:-0.5,2"), normal(-0.5, 2.0));
        for (text, why) in [
            ("", "the laws are"),
            ("beta", "the laws are"),
            ("uniform:1,2", "the laws are"),
            ("logit-normal:1", "the laws are"),
            ("logit-normal:,", "\"\" is not a number"),
            ("logit-normal:0,one", "\"one\" is not a number"),
            ("logit-normal:0,1,2", "\"1,2\" is not a number"),
            ("logit-normal:0,0", "the deviation of the flow times is 0"),
            ("logit-normal:NaN,1", "the mean of the flow times is NaN"),
        ] {
            let error = flow_times(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
