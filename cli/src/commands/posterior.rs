//! `mfm posterior`: draws of clean data given noisy states.

use super::destination::{Destination, Groups, Samples};
use crate::arguments::{at_least_one, time};
use crate::context::Context;
use crate::data::{self, LabelColumn, Row};
use crate::failure::{Place, Result};
use crate::model::{ConditionArguments, LoadedModel};
use crate::table::{Table, count, number};
use mfm_core::sample::posterior_by_steps;
use mfm_core::{Draws, Tensor, TimeGrid};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// The options of `mfm posterior`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The model file
    pub model: PathBuf,
    /// The states, one a row, in the units of the data: a .csv, .tsv, .csv.gz or .npy file, or - for text on standard input. On the linear path
    /// (1 − t) ε + t x1, with x1 of the data and ε ~ N(0, I), or N(mean, diag(deviation²)) for a model of standardised columns, of which mfm info shows both
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
    /// The time of the states: 0 is noise, 1 is data
    #[arg(long, value_name = "T", value_parser = time, allow_negative_numbers = true)]
    pub time: f64,
    /// Draws for each state
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_one, allow_negative_numbers = true)]
    pub draws: usize,
    /// Steps of the map for each draw
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = at_least_one, allow_negative_numbers = true)]
    pub steps: usize,
    /// The condition
    #[command(flatten)]
    pub condition: ConditionArguments,
    /// The file to write: .csv or .npy, the draws of a state in consecutive rows, or .png [default: text on standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    model: &'a str,
    states: usize,
    time: f64,
    draws: usize,
    steps: usize,
    seconds: f64,
    /// For each state its draws, only if they went to no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    posterior: Option<Vec<&'a [Row<'a>]>>,
}

/// Runs `mfm posterior`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let model = LoadedModel::<T>::load(&arguments.model, &context.device)?;
    let dimension = model.dimension();
    let destination = Destination::new(arguments.out.as_deref(), dimension)?;
    let flow = model.flow(&arguments.condition)?;
    let data = data::load(&arguments.state, LabelColumn::None)?;
    let states = model.states(&data, &context.device)?;
    let &Arguments { time, draws, steps, .. } = arguments;
    model.warn_of_jumps(context, None);

    let start = Instant::now();
    let progress = context.progress("drawing", data.len() as u64);
    let (draws_at_once, grid) = (Draws::new(draws), TimeGrid::uniform(steps));
    let [samples] = draws_at_once
        .for_blocks(&flow, &states, |flow, block, part| {
            let noise = draws_at_once.noise(&context.noise, part, block)?;
            let samples = posterior_by_steps(flow, &grid, &noise, time, part)?;
            progress.advance(block.1 as u64);
            Ok([samples])
        })
        .at(&model.source)?;
    let rows = model.numbers(&samples)?;
    drop(progress);
    let seconds = start.elapsed().as_secs_f64();

    let title = format!("Draws of the posterior at t = {time}");
    destination.write(context, &Samples { title: &title, rows: &rows, dimension, groups: Groups::States(&data.double()) })?;
    if !destination.is_stdout() {
        let mut table = Table::new(["states", "time", "draws", "steps", "seconds"]);
        table.row([count(data.len()), time.to_string(), count(draws), steps.to_string(), number(seconds, 3)]);
        context.table(&table)?;
    }
    let all = if destination.is_stdout() { rows.rows(dimension) } else { Vec::new() };
    let posterior = destination.is_stdout().then(|| all.chunks_exact(draws).collect());
    context.results(&Report { model: &model.source, states: data.len(), time, draws, steps, seconds, posterior })
}
