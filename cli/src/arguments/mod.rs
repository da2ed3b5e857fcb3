//! The command line.

pub mod device;
mod files;
mod help;
mod names;
mod numbers;
mod sentence;

pub(crate) use files::{check as check_files, check_read};
pub use help::command;
pub use names::one_of;
pub use numbers::{at_least_one, not_negative, part, positive, share, steps, time, whole};
pub(crate) use sentence::sentence;

use crate::commands::{
    classifier, completions, device as device_command, exchange, finetune, info, plot, posterior, sample, search, steer, train, value,
};
use crate::context::{Context, Json, Verbosity};
use crate::experiments::{demo, mnist, toy2d};
use crate::failure::{Failure, Result};
use crate::progress::eprintln_quietly;
use crate::run;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use mfm_core::Tensor;
use mfm_cpu_ref::CpuTensor;
use mfm_gpu_cuda::{CudaTensor, Precision};
use std::ffi::OsString;
use std::path::PathBuf;

/// Train, sample and steer Meta Flow Maps
#[derive(Debug, Parser)]
#[command(name = "mfm", version, propagate_version = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The seed of all noise
    #[arg(long, global = true, value_name = "N", default_value_t = 0, value_parser = whole::<u64>, allow_negative_numbers = true, help_heading = "Everywhere")]
    pub seed: u64,
    /// Threads; results do not depend on how many [default: all]
    #[arg(long, global = true, value_name = "N", value_parser = numbers::threads, allow_negative_numbers = true, help_heading = "Everywhere")]
    pub threads: Option<usize>,
    /// Where to compute: cpu, cuda:0 (or another number), or auto, which takes the first GPU if there is one
    #[arg(long, global = true, value_name = "DEVICE", default_value = "cpu", help_heading = "Everywhere")]
    pub device: device::Choice,
    /// How a GPU keeps and multiplies numbers: f32, tf32 (factors of matrix products rounded), or bf16 (sums in f32)
    // Listed one by one with their help, they would make that of every command a long one.
    #[arg(long, global = true, value_name = "PRECISION", default_value = "f32", value_parser = device::precisions(), hide_possible_values = true, help_heading = "Everywhere")]
    pub precision: Precision,
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
    /// Write a script by which a shell completes this command's words
    Completions(completions::Arguments),
}

impl Arguments {
    /// A command line, whose first word is the program's name. `mfm train --run DIR --resume` takes the options that DIR keeps.
    ///
    /// # Errors
    /// One sentence for the user; also where help is asked for.
    pub fn of<W: Into<OsString> + Clone>(line: impl IntoIterator<Item = W>) -> Result<Self> {
        let matches = command().try_get_matches_from(line).map_err(|error| Failure::input(sentence(&error)))?;
        run::complete(&matches)
    }
}

/// Runs the command line of this process and returns its exit status.
pub fn main() -> u8 {
    let matches = match command().try_get_matches() {
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
    let for_a_gpu = [("--graphs", arguments.graphs), ("--precision", arguments.precision != Precision::F32)];
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
        Command::Completions(arguments) => completions::run(context, arguments),
    }
}

/// Says what is wrong with the command line, or shows help, and returns the exit status.
fn refuse(error: &clap::Error) -> u8 {
    let shows = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
    if shows.contains(&error.kind()) {
        // That nobody reads the help is no failure.
        let _ = error.print();
    } else {
        eprintln_quietly(&format!("mfm: {}", sentence(error)));
    }
    error.exit_code().clamp(0, 2) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
