//! `mfm sample`: samples of a model.

use super::destination::{Destination, Groups, Samples};
use crate::arguments::at_least_one;
use crate::context::Context;
use crate::data::Row;
use crate::failure::{Failure, Place, Result};
use crate::jumps;
use crate::model::{LoadedModel, Told, shape};
use crate::table::{Table, count, number, things};
use mfm_core::plan::FIRST_TIME;
use mfm_core::sample::{sample_by_integration, sample_by_refinement, sample_by_steps};
use mfm_core::steer::{Dynamics, Scheme, Steering};
use mfm_core::{Device, Noise, Tensor, TimeGrid};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Samples made at once. Block k has noise of its own, so the first n samples do not depend on how many follow.
const BLOCK: usize = 8192;

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
    pub told: Told,
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
    fn steering(dynamics: Dynamics, steps: usize) -> Steering {
        match dynamics {
            Dynamics::Ode => Steering { dynamics, scheme: Scheme::Heun, grid: TimeGrid::uniform(steps) },
            Dynamics::Sde => Steering { dynamics, scheme: Scheme::Euler, grid: TimeGrid::uniform(steps).from(FIRST_TIME) },
        }
    }

    /// Its name, and the evaluations of the map for each sample.
    fn describe(&self) -> (&'static str, usize) {
        match *self {
            Self { refine: Some(k), .. } => ("refinement", k),
            Self { ode: Some(k), .. } => ("ode", Self::steering(Dynamics::Ode, k).evaluations(1)),
            Self { sde: Some(k), .. } => ("sde", k),
            Self { steps, .. } => ("map", steps.unwrap_or(1)),
        }
    }

    /// Whether they are made by the jumps of the map.
    fn is_by_jumps(&self) -> bool {
        self.ode.is_none() && self.sde.is_none()
    }

    fn run<T: Tensor>(&self, model: &LoadedModel<T>, told: &Told, x: &T, noise: &Noise) -> mfm_core::Result<T> {
        let flow = model.flow(told);
        match *self {
            Self { refine: Some(k), .. } => sample_by_refinement(&flow, &TimeGrid::uniform(k), x, noise),
            Self { ode: Some(k), .. } => sample_by_integration(&flow, &Self::steering(Dynamics::Ode, k), x, noise),
            Self { sde: Some(k), .. } => sample_by_integration(&flow, &Self::steering(Dynamics::Sde, k), x, noise),
            Self { steps, .. } => sample_by_steps(&flow, &TimeGrid::uniform(steps.unwrap_or(1)), x),
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
    model.check(&arguments.told)?;
    let (method, evaluations) = arguments.method.describe();
    let evaluations = evaluations * model.passes(&arguments.told);
    let n = arguments.samples;
    shape(n, dimension)?;
    let mut rows =
        model.room(n).map_err(|_| Failure::input(format!("--samples {n}: there is no room for so many samples of {dimension} numbers")))?;
    if arguments.method.is_by_jumps() {
        jumps::warn(context, &model, Some("use --ode"));
    }

    let start = Instant::now();
    let progress = context.progress("sampling", n as u64);
    for (k, first) in (0..n).step_by(BLOCK).enumerate() {
        let (noise, size) = (context.noise.fork(k as u64), BLOCK.min(n - first));
        let x = context.device.normal(&noise.stream(1), shape(size, dimension)?)?;
        let samples = arguments.method.run(&model, &arguments.told, &x, &noise).at(&model.source)?;
        rows.extend(model.numbers(&samples)?);
        progress.advance(size as u64);
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
