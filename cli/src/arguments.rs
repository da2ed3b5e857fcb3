//! The command line.

use crate::commands::{
    classifier, device as device_command, exchange, finetune, info, plot, posterior, sample, search, steer, train, value,
};
use crate::context::{Context, Json, Verbosity};
use crate::failure::{Failure, Result};
use crate::progress::eprintln_quietly;
use crate::{demo, device, mnist, run, toy2d};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use mfm_core::Tensor;
use mfm_cpu_ref::CpuTensor;
use mfm_gpu_cuda::CudaTensor;
use std::ffi::OsString;
use std::path::PathBuf;

/// Train, sample and steer Meta Flow Maps
#[derive(Debug, Parser)]
#[command(name = "mfm", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The seed of all noise
    #[arg(long, global = true, value_name = "N", default_value_t = 0, allow_negative_numbers = true, help_heading = "Everywhere")]
    pub seed: u64,
    /// Threads; results do not depend on how many [default: all]
    #[arg(long, global = true, value_name = "N", value_parser = thread_count, allow_negative_numbers = true, help_heading = "Everywhere")]
    pub threads: Option<usize>,
    /// Where to compute: cpu, cuda:0 (or another number), or auto, which takes the first GPU if there is one
    #[arg(long, global = true, value_name = "DEVICE", default_value = "cpu", help_heading = "Everywhere")]
    pub device: device::Choice,
    /// How a GPU keeps and multiplies numbers
    #[arg(long, global = true, value_name = "PRECISION", default_value = "f32", help_heading = "Everywhere")]
    pub precision: device::Precision,
    /// Work goes to a GPU as CUDA graphs, one launch between two looks of the host; the results are the same
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub graphs: bool,
    /// Machine-readable results to this file, or - for standard output; JSON has no infinite numbers: those, and NaN, are null
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub json: Option<PathBuf>,
    /// Nothing on standard error but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Everywhere")]
    pub quiet: bool,
    /// Details on standard error
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub verbose: bool,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Real digits, end to end: train, draw posteriors, estimate values and steer, with pictures
    Demo(demo::Arguments),
    /// The 2D experiment against exact mixtures, and linear-Gaussian inverse problems
    Toy2d(toy2d::Arguments),
    /// The paper's experiment on digits: a flow model, its Meta Flow Map, steering and fine-tuning, judged by classifiers
    Mnist(mnist::Arguments),
    /// Train a model on data from a file, or on the built-in digits
    Train(train::Arguments),
    /// Train a classifier for rewards, on labelled data
    Classifier(classifier::Arguments),
    /// Draw the losses of a training run, and samples of its model
    Plot(plot::Arguments),
    /// Draw samples of a model
    Sample(sample::Arguments),
    /// Draw clean data given noisy states
    Posterior(posterior::Arguments),
    /// Estimate the value of a reward at noisy states
    Value(value::Arguments),
    /// Draw samples aimed at a reward
    Steer(steer::Arguments),
    /// Search for the samples of the highest reward
    Search(search::Arguments),
    /// Fine-tune a model to a reward, so that its own samples are aimed at it
    Finetune(finetune::Arguments),
    /// Show what is in a model file, and check it
    Info(info::Arguments),
    /// Show what there is to compute on, and which libraries are absent
    Device(device_command::Arguments),
    /// Make a model file of a transformer's weights in a safetensors file
    Import(exchange::Import),
    /// Write a transformer's weights to a safetensors file
    Export(exchange::Export),
}

impl Arguments {
    /// A command line, whose first word is the program's name. `mfm train --run DIR --resume` takes the options that DIR keeps.
    ///
    /// # Errors
    /// One sentence for the user; also where help is asked for.
    pub fn of<W: Into<OsString> + Clone>(line: impl IntoIterator<Item = W>) -> Result<Self> {
        let matches = Self::command().try_get_matches_from(line).map_err(|error| Failure::input(sentence(&error.render().to_string())))?;
        run::complete(&matches)
    }
}

/// Runs the command line of this process and returns its exit status.
pub fn main() -> u8 {
    let matches = match Arguments::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return refuse(&error),
    };
    match run::complete(&matches).and_then(|arguments| run(&arguments)) {
        Ok(()) => 0,
        Err(failure) => {
            eprintln_quietly(&format!("mfm: {failure}"));
            failure.status()
        }
    }
}

/// Runs a parsed command line.
///
/// # Errors
/// One sentence for the user.
pub fn run(arguments: &Arguments) -> Result<()> {
    let verbosity = match (arguments.quiet, arguments.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let json = arguments.json.as_ref().map(|path| if path.as_os_str() == "-" { Json::Stdout } else { Json::File(path.clone()) });
    let Arguments { seed, threads, .. } = *arguments;
    let for_a_gpu = [("--graphs", arguments.graphs), ("--precision", arguments.precision != device::Precision::F32)];
    if let (device::Choice::Cpu, Some((option, _))) = (arguments.device, for_a_gpu.into_iter().find(|(_, given)| *given)) {
        return Err(Failure::input(format!("{option}: it is for a GPU, but --device is cpu")));
    }
    // What there is to compute on is told by the host.
    let choice = if matches!(arguments.command, Command::Device(_)) { device::Choice::Cpu } else { arguments.device };
    match device::gpu(choice, arguments.precision, arguments.graphs)? {
        Ok(device) => dispatch(&Context::<CudaTensor>::new(device, seed, threads, verbosity, json)?, &arguments.command),
        Err(reason) => {
            let context = Context::<CpuTensor<f32>>::new(device::host(threads)?, seed, threads, verbosity, json)?;
            if let Some(reason) = reason {
                context.say(format!("--device auto: the processor, since {reason}"));
            }
            dispatch(&context, &arguments.command)
        }
    }
}

/// Runs a command on the context's device.
fn dispatch<T: Tensor>(context: &Context<T>, command: &Command) -> Result<()> {
    match command {
        Command::Demo(arguments) => demo::run(context, arguments),
        Command::Toy2d(arguments) => toy2d::run(context, arguments),
        Command::Mnist(arguments) => mnist::run(context, arguments),
        Command::Train(arguments) => train::run(context, arguments),
        Command::Classifier(arguments) => classifier::run(context, arguments),
        Command::Plot(arguments) => plot::run(context, arguments),
        Command::Sample(arguments) => sample::run(context, arguments),
        Command::Posterior(arguments) => posterior::run(context, arguments),
        Command::Value(arguments) => value::run(context, arguments),
        Command::Steer(arguments) => steer::run(context, arguments),
        Command::Search(arguments) => search::run(context, arguments),
        Command::Finetune(arguments) => finetune::run(context, arguments),
        Command::Info(arguments) => info::run(context, arguments),
        Command::Device(arguments) => device_command::run(context, arguments),
        Command::Import(arguments) => exchange::import(context, arguments),
        Command::Export(arguments) => exchange::export(context, arguments),
    }
}

/// Says what is wrong with the command line, or shows help, and returns the exit status.
fn refuse(error: &clap::Error) -> u8 {
    let shows = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
    if shows.contains(&error.kind()) {
        // That nobody reads the help is no failure.
        let _ = error.print();
    } else {
        eprintln_quietly(&format!("mfm: {}", sentence(&error.render().to_string())));
    }
    error.exit_code().clamp(0, 2) as u8
}

/// The first paragraph of clap's message as one sentence.
pub(crate) fn sentence(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// A number of threads.
fn thread_count(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        count if count > 1024 => Err("at most 1024 threads can be used".into()),
        count => Ok(count),
    }
}

/// A whole number of at least one.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("it must be a whole number of at least 1".into()),
    }
}

/// A time between 0 and 1.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn time(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(time) if (0.0..=1.0).contains(&time) => Ok(time),
        Ok(_) => Err("a time must lie between 0 and 1".into()),
        Err(_) => Err("it is not a number".into()),
    }
}

/// A share: at least 0, below 1.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        Ok(_) => Err("it must be at least 0 and below 1".into()),
        Err(_) => Err("it is not a number".into()),
    }
}

/// A part of the whole: between 0 and 1, both of which it may be.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn part(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        Ok(_) => Err("it must lie between 0 and 1".into()),
        Err(_) => Err("it is not a number".into()),
    }
}

/// A number above zero.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        Ok(_) => Err("it must be positive and finite".into()),
        Err(_) => Err("it is not a number".into()),
    }
}

/// A number of at least zero.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => Ok(number),
        Ok(_) => Err("it must be at least 0 and finite".into()),
        Err(_) => Err("it is not a number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn one_sentence() {
        assert_eq!(
            sentence("error: the following were not provided:\n  --out <M>\n\nUsage: x"),
            "the following were not provided: --out <M>"
        );
    }
}
