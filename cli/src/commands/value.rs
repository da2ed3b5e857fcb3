//! `mfm value`: the value function of a reward at noisy states.

use crate::arguments::{at_least_one, time};
use crate::context::Context;
use crate::data::{self, LabelColumn};
use crate::failure::{Failure, Place, Result};
use crate::model::LoadedModel;
use crate::reward::{self, AnyReward};
use crate::table::{Table, number};
use mfm_core::guidance::estimate_value;
use mfm_core::{Draws, Tensor};
use serde::Serialize;
use std::path::PathBuf;

/// The options of `mfm value`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The model file
    pub model: PathBuf,
    /// The states: a .csv, .csv.gz or .npy file, one a row
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
    /// The time of the states: 0 is noise, 1 is data
    #[arg(long, value_name = "T", value_parser = time, allow_negative_numbers = true)]
    pub time: f64,
    /// Posterior draws for each state
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one, allow_negative_numbers = true)]
    pub draws: usize,
    #[arg(long, value_name = "REWARD", help = reward::HELP)]
    #[allow(missing_docs)] // the help is its documentation
    pub reward: String,
    /// The label, for a model that knows labels
    #[arg(long, value_name = "L")]
    pub label: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    model: &'a str,
    reward: &'a str,
    time: f64,
    draws: usize,
    values: Vec<f64>,
    effective_sample_size: f64,
    largest_weight: f64,
}

/// Runs `mfm value`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let model = LoadedModel::<T>::load(&arguments.model, &context.device)?;
    let label = model.label(arguments.label)?;
    let data = data::load(&arguments.state, LabelColumn::None)?;
    let states = model.states(&data, &context.device)?;
    let reward = AnyReward::new(context, &arguments.reward, model.dimension())?;
    let &Arguments { time, draws, .. } = arguments;
    let estimate = estimate_value(&model.flow(&label), &reward, time, &states, Draws::new(draws), &context.noise).at(&model.source)?;
    let values = estimate.value.to_vec::<f64>()?;
    if let Some(row) = values.iter().position(|value| value.is_nan()) {
        return Err(Failure::input(format!("{}: the value of the state in row {} is NaN", data.source, row + 1)));
    }
    let mut table = Table::new(["state", "value"]);
    for (i, value) in values.iter().enumerate() {
        table.row([(i + 1).to_string(), number(*value, 6)]);
    }
    context.table(&table)?;
    let weights = estimate.concentration;
    context.say(format!(
        "{draws} draws a state; effective sample size {}, largest weight {} (means over the states); estimates are biased low at few draws",
        number(weights.effective_sample_size, 3),
        number(weights.largest_weight, 3)
    ));
    context.results(&Report {
        model: &model.source,
        reward: &arguments.reward,
        time,
        draws,
        values,
        effective_sample_size: weights.effective_sample_size,
        largest_weight: weights.largest_weight,
    })
}
