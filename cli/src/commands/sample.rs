//! `mfm sample`: samples of a model.

use super::destination::{Destination, Groups, Samples};
use crate::arguments::at_least_one;
use crate::context::Context;
use crate::data::Row;
use crate::failure::{Failure, Place, Result};
use crate::model::{ConditionArguments, LoadedModel, shape};
use crate::table::{Table, count, number, things};
use mfm_core::Tensor;
use mfm_core::sample::Sampler;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// The options of `mfm sample`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The model file
    pub model: PathBuf,
    /// How many samples
    #[arg(short = 'n', long = "samples", value_name = "N", default_value_t = 100, value_parser = at_least_one, allow_negative_numbers = true)]
    pub samples: usize,
    /// How they are made
    #[command(flatten)]
    pub method: Method,
    /// The condition
    #[command(flatten)]
    pub condition: ConditionArguments,
    /// The file to write: .csv, .npy or .png [default: text on standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How samples are made; at most one of these.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false)]
pub struct Method {
    /// By K steps of the map [default: 1]
    #[arg(long, value_name = "K", value_parser = at_least_one, allow_negative_numbers = true)]
    pub steps: Option<usize>,
    /// By K rounds of posterior draw and renoising
    #[arg(long, value_name = "K", value_parser = at_least_one, allow_negative_numbers = true)]
    pub refine: Option<usize>,
    /// By K steps of Heun along the ODE
    #[arg(long, value_name = "K", value_parser = at_least_one, allow_negative_numbers = true)]
    pub ode: Option<usize>,
    /// By K steps of Euler–Maruyama along the SDE
    #[arg(long, value_name = "K", value_parser = at_least_one, allow_negative_numbers = true)]
    pub sde: Option<usize>,
}

impl Method {
    /// Its name, and what it stands for.
    fn sampler(&self) -> (&'static str, Sampler) {
        match *self {
            Self { refine: Some(k), .. } => ("refinement", Sampler::refinement(k)),
            Self { ode: Some(k), .. } => ("ode", Sampler::ode(k)),
            Self { sde: Some(k), .. } => ("sde", Sampler::sde(k)),
            Self { steps, .. } => ("map", Sampler::steps(steps.unwrap_or(1))),
        }
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    model: &'a str,
    samples: usize,
    dimension: usize,
    method: &'a str,
    evaluations: usize,
    seconds: f64,
    /// Only if they went to no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<Row<'a>>>,
}

/// Runs `mfm sample`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let model = LoadedModel::<T>::load(&arguments.model, &context.device)?;
    let dimension = model.dimension();
    let destination = Destination::new(arguments.out.as_deref(), dimension)?;
    let flow = model.flow(&arguments.condition)?;
    let (method, sampler) = arguments.method.sampler();
    let evaluations = sampler.evaluations() * model.passes(&arguments.condition);
    let n = arguments.samples;
    let shape = shape(n, dimension)?;
    let mut rows =
        model.room(n).map_err(|_| Failure::input(format!("--samples {n}: there is no room for so many samples of {dimension} numbers")))?;
    if sampler.needs_jumps() {
        model.warn_of_jumps(context, Some("use --ode"));
    }

    let start = Instant::now();
    let progress = context.progress("sampling", n as u64);
    for samples in sampler.blocks(&flow, &context.device, shape, &context.noise) {
        let samples: T = samples.at(&model.source)?;
        rows.extend(model.numbers(&samples)?);
        progress.advance(samples.shape().batch() as u64);
    }
    drop(progress);
    let seconds = start.elapsed().as_secs_f64();

    let title = format!("{} by {method}, {} each", things(n, "sample"), things(evaluations, "network evaluation"));
    destination.write(context, &Samples { title: &title, rows: &rows, dimension, groups: Groups::One })?;
    if !destination.is_stdout() {
        let mut table = Table::new(["samples", "method", "evaluations", "seconds"]);
        table.row([count(n), method.to_owned(), evaluations.to_string(), number(seconds, 3)]);
        context.table(&table)?;
    }
    let rows = destination.is_stdout().then(|| rows.rows(dimension));
    context.results(&Report { model: &model.source, samples: n, dimension, method, evaluations, seconds, rows })
}
