//! What every subcommand is given: the device, the noise, and where results and remarks go.

use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::{Progress, eprintln_quietly};
use crate::table::Table;
use mfm_core::{Noise, Tensor};
use serde::Serialize;
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors alone.
    Quiet,
    /// Progress and remarks.
    #[default]
    Normal,
    /// Details as well.
    Verbose,
}

/// Where machine-readable results go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// To standard output, on which then nothing else is written.
    Stdout,
    /// To a file.
    File(PathBuf),
}

/// What every subcommand is given.
#[derive(Debug)]
pub struct Context<T: Tensor> {
    /// The device on which everything is computed.
    pub device: T::Device,
    /// How many threads the command line asked for.
    pub threads: Option<usize>,
    /// The seed, as given.
    pub seed: u64,
    /// Noise from the seed; fork it for each purpose.
    pub noise: Noise,
    /// How much is said.
    pub verbosity: Verbosity,
    /// Where machine-readable results go, if anywhere.
    pub json: Option<Json>,
    started: Instant,
}

impl<T: Tensor> Context<T> {
    /// A seed for a part of a command that has noise of its own.
    pub fn derived_seed(&self, part: u64) -> u64 {
        self.noise.fork(part).short_seed()
    }

    /// A context.
    ///
    /// # Errors
    /// If the file for results cannot be written.
    pub fn new(device: T::Device, seed: u64, threads: Option<usize>, verbosity: Verbosity, json: Option<Json>) -> Result<Self> {
        if let Some(Json::File(path)) = &json {
            output::check(path)?;
        }
        Ok(Self { device, threads, seed, noise: Noise::new(seed), verbosity, json, started: Instant::now() })
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Whether standard output is kept for machine-readable results.
    pub fn stdout_is_json(&self) -> bool {
        self.json == Some(Json::Stdout)
    }

    /// A remark on standard error, unless quiet.
    pub fn say(&self, text: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            eprintln_quietly(&text.to_string());
        }
    }

    /// A detail on standard error, if verbose.
    pub fn detail(&self, text: impl Display) {
        if self.verbosity >= Verbosity::Verbose {
            eprintln_quietly(&text.to_string());
        }
    }

    /// A remark on standard error, unless quiet, above a progress bar.
    pub fn say_above(&self, progress: &Progress, text: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            progress.line(&text.to_string());
        }
    }

    /// A detail on standard error, if verbose, above a progress bar.
    pub fn detail_above(&self, progress: &Progress, text: impl Display) {
        if self.verbosity >= Verbosity::Verbose {
            progress.line(&text.to_string());
        }
    }

    /// Progress on standard error, unless quiet.
    pub fn progress(&self, what: &str, total: u64) -> Progress {
        Progress::new(self.verbosity, what, total)
    }

    /// A result for people, one or more lines, on standard output (on standard error, where standard output is for JSON). That nobody reads it ends nothing: files
    /// may still be to be written.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn print(&self, text: impl Display) -> Result<()> {
        if self.stdout_is_json() {
            self.say(text);
            return Ok(());
        }
        stdout(&format!("{text}\n"))
    }

    /// A table of results; see [`print`](Self::print).
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn table(&self, table: &Table) -> Result<()> {
        self.print(table.to_string().trim_end())
    }

    /// Machine-readable results, if they were asked for. To be called once, at the end.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn results(&self, results: &impl Serialize) -> Result<()> {
        let Some(json) = &self.json else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(results).map_err(|error| Failure::Internal(error.to_string()))?;
        text.push('\n');
        match json {
            Json::Stdout => stdout(&text),
            Json::File(path) => output::write_bytes(path, text.as_bytes()),
        }
    }
}

/// Writes to standard output, if anybody reads it.
fn stdout(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    output::read_or_not(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
        .map_err(|error| Failure::input(format!("cannot write to standard output: {}", crate::failure::reason(&error))))
}
