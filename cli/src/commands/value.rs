//! `mfm value`: the value function of a reward at noisy states, and its gradient.

use super::destination::{Destination, Groups, Samples};
use crate::arguments::{at_least_one, time};
use crate::context::Context;
use crate::data::{self, LabelColumn, Values};
use crate::failure::{Failure, Place, Result};
use crate::model::{ConditionArguments, LoadedModel};
use crate::output;
use crate::reward::{self, AnyReward};
use crate::table::{Table, count, number};
use mfm_core::categorical::effective_sample_size;
use mfm_core::guidance::{estimate_value, estimate_value_by_rollouts, estimate_value_gradient};
use mfm_core::{Draws, Reward, Tensor, TimeGrid};
use mfm_picture::{Axis, BLUE, Figure, GREY, Layer, Panel, Picture};
use serde::Serialize;
use std::path::PathBuf;

/// The options of `mfm value`.
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
    /// Posterior draws for each state
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one, allow_negative_numbers = true)]
    pub draws: usize,
    #[arg(long, value_name = "REWARD", help = reward::HELP, next_line_help = true)]
    #[allow(missing_docs)] // the help is its documentation
    pub reward: String,
    /// The condition
    #[command(flatten)]
    pub condition: ConditionArguments,
    /// Its gradient by the state as well, in the units of the data, through the network
    #[arg(long)]
    pub gradient: bool,
    /// Judge the estimates by the truth about the model's drift: so many long rollouts for each state
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub truth: Option<usize>,
    /// Steps of a rollout, two network evaluations each
    #[arg(long, value_name = "K", default_value_t = 64, value_parser = at_least_one, allow_negative_numbers = true, requires = "truth")]
    pub truth_steps: usize,
    /// The file to write: .csv or .npy, one row a state: the value, its effective sample size, with --truth the value by rollouts, and with --gradient the
    /// gradient's columns; or, with --truth, a .png picture of the estimates over the truth [default: a table on standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    model: &'a str,
    reward: &'a str,
    time: f64,
    draws: usize,
    values: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradients: Option<Vec<&'a [f64]>>,
    effective_sample_size: f64,
    largest_weight: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    truth: Option<Truth>,
}

/// What long rollouts say.
#[derive(Debug, Serialize)]
struct Truth {
    rollouts: usize,
    steps: usize,
    values: Vec<f64>,
    /// Of the estimates with the truth, over the states; `None` where either is the same for all.
    correlation: Option<f64>,
    /// The root of the mean squared difference.
    error: f64,
    effective_sample_size: f64,
}

/// Runs `mfm value`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    // The picture is a figure of its own, whatever the data's dimension.
    let destination = Destination::new(arguments.out.as_deref(), 2)?;
    if let (Destination::Png(path), None) = (&destination, arguments.truth) {
        let path = path.display();
        return Err(Failure::input(format!(
            "cannot draw {path}: the picture is of the estimates over the truth, for which --truth is needed"
        )));
    }
    let model = LoadedModel::<T>::load(&arguments.model, &context.device)?;
    let flow = model.flow(&arguments.condition)?;
    let data = data::load(&arguments.state, LabelColumn::None)?;
    let states = model.states(&data, &context.device)?;
    let of_data = AnyReward::new(context, &arguments.reward, model.dimension())?;
    let reward = model.reward(&of_data)?;
    let &Arguments { time, draws, .. } = arguments;
    model.warn_of_jumps(context, None);
    let draws_each = Draws::new(draws);
    let (value, gradient, weights, concentration) = if arguments.gradient {
        let estimate = estimate_value_gradient(&flow, &reward, time, &states, draws_each, &context.noise).at(&model.source)?;
        let (gradient, concentration) = (model.coordinates().leave_gradient(&estimate.gradient)?, estimate.concentration()?);
        (estimate.value, Some(gradient.to_vec::<f64>()?), estimate.weights, concentration)
    } else {
        let estimate = estimate_value(&flow, &reward, time, &states, draws_each, &context.noise).at(&model.source)?;
        let concentration = estimate.concentration()?;
        (estimate.value, None, estimate.weights, concentration)
    };
    let gradients: Option<Vec<&[f64]>> = gradient.as_ref().map(|gradient| gradient.chunks_exact(model.dimension()).collect());
    let values = value.to_vec::<f64>()?;
    if let Some(row) = values.iter().position(|value| value.is_nan()) {
        return Err(Failure::input(format!("{}: the value of the state in row {} is NaN", data.source, row + 1)));
    }
    let truth = match arguments.truth {
        Some(rollouts) => Some(truth(context, arguments, &model, &reward, &states, rollouts, &values)?),
        None => None,
    };
    match &destination {
        Destination::Csv(_) | Destination::Npy(_) => {
            let rows = rows(&values, &weights, truth.as_ref(), gradients.as_deref())?;
            let dimension = rows.len() / values.len();
            destination.write(context, &Samples { title: "", rows: &Values::Double(rows), dimension, groups: Groups::One })?;
        }
        Destination::Stdout | Destination::Png(_) => context.table(&table(&values, truth.as_ref(), gradients.as_deref()))?,
    }
    context.say(format!(
        "{draws} draws a state; effective sample size {}, largest weight {} (means over the states); estimates are biased low at few draws",
        number(concentration.effective_sample_size, 3),
        number(concentration.largest_weight, 3)
    ));
    if let Some(truth) = &truth {
        let correlation = truth.correlation.map_or_else(|| "no correlation".into(), |found| format!("correlation {}", number(found, 4)));
        context.print(format!(
            "one step against {} rollouts of {} steps a state: {correlation}, root mean square difference {}",
            count(truth.rollouts),
            truth.steps,
            number(truth.error, 3)
        ))?;
        if let Destination::Png(path) = &destination {
            output::picture(path, &scatter(&values, truth)?)?;
        }
    }
    context.results(&Report {
        model: &model.source,
        reward: &arguments.reward,
        time,
        draws,
        values,
        gradients,
        effective_sample_size: concentration.effective_sample_size,
        largest_weight: concentration.largest_weight,
        truth,
    })
}

/// What is known of each state, for people.
fn table(values: &[f64], truth: Option<&Truth>, gradients: Option<&[&[f64]]>) -> Table {
    let more = [("gradient's norm", gradients.is_some()), ("truth", truth.is_some())];
    let more = more.into_iter().filter_map(|(heading, known)| known.then_some(heading));
    let mut table = Table::new(["state", "value"].into_iter().chain(more));
    for (i, value) in values.iter().enumerate() {
        let norm = gradients.map(|rows| number(rows[i].iter().map(|slope| slope * slope).sum::<f64>().sqrt(), 6));
        let truth = truth.map(|truth| number(truth.values[i], 6));
        table.row([(i + 1).to_string(), number(*value, 6)].into_iter().chain(norm).chain(truth));
    }
    table
}

/// What is known of each state, row after row, for machines: the value, its effective sample size, the truth and the gradient.
fn rows<T: Tensor>(values: &[f64], weights: &T, truth: Option<&Truth>, gradients: Option<&[&[f64]]>) -> Result<Vec<f64>> {
    let (draws, weights) = (weights.shape().item().max(1), weights.to_vec::<f64>()?);
    let mut rows = Vec::new();
    for (i, (value, weights)) in values.iter().zip(weights.chunks(draws)).enumerate() {
        rows.extend([*value, effective_sample_size(weights)]);
        rows.extend(truth.map(|truth| truth.values[i]));
        rows.extend(gradients.map_or(&[][..], |rows| rows[i]));
    }
    Ok(rows)
}

/// The value by long rollouts, beside the `estimates`.
fn truth<T: Tensor>(
    context: &Context<T>,
    arguments: &Arguments,
    model: &LoadedModel<T>,
    reward: &impl Reward<T>,
    states: &T,
    rollouts: usize,
    estimates: &[f64],
) -> Result<Truth> {
    let (flow, grid) = (model.flow(&arguments.condition)?, TimeGrid::uniform(arguments.truth_steps));
    let noise = context.noise.fork(1);
    let progress = context.progress("rolling out", estimates.len() as u64);
    let (mut values, mut sizes) = (Vec::new(), 0.0);
    // State by state, for the progress: the noise of each is its own.
    for i in 0..estimates.len() {
        let state = states.slice(0, i, 1)?;
        let draws = Draws::new(rollouts);
        let found =
            estimate_value_by_rollouts(&flow, reward, &grid, arguments.time, &state, draws, &noise.fork(i as u64)).at(&model.source)?;
        values.extend(found.value.to_vec::<f64>()?);
        sizes += found.concentration()?.effective_sample_size;
        progress.advance(1);
    }
    let n = values.len() as f64;
    let squares = estimates.iter().zip(&values).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    Ok(Truth {
        rollouts,
        steps: arguments.truth_steps,
        correlation: correlation(estimates, &values),
        values,
        error: (squares / n).sqrt(),
        effective_sample_size: sizes / n,
    })
}

/// Pearson's; `None` where either does not vary, or is not finite.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum = |of: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| of(a - mean_a, b - mean_b)).sum::<f64>();
    let found = sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt();
    found.is_finite().then_some(found)
}

/// The estimates over the truth, with the line where both agree.
fn scatter(values: &[f64], truth: &Truth) -> mfm_picture::Result<Picture> {
    let all = || values.iter().chain(&truth.values).copied();
    let (x, y) = (Axis::fit(format!("{} rollouts of {} steps", count(truth.rollouts), truth.steps), all()), Axis::fit("one step", all()));
    let diagonal = Layer::Curve { points: vec![[x.low, x.low], [x.high, x.high]], colour: GREY, marked: false };
    let points = truth.values.iter().zip(values).map(|(truth, value)| [*truth, *value]).collect();
    let title = truth.correlation.map_or_else(|| "The value".into(), |found| format!("The value: correlation {}", number(found, 3)));
    Figure::new("", 1)
        .with_panel_size(420, 420)
        .with(Panel::new(title, x, y).with_equal_units().with_named("equal", diagonal).with_named("states", Layer::points(points, BLUE)))
        .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations() {
        assert!((correlation(&[1.0, 2.0, 4.0], &[-2.0, -4.0, -8.0]).unwrap() + 1.0).abs() < 1e-12);
        // By hand: deviations (−1, 0, 1) and (−1, 1, 0).
        assert!((correlation(&[1.0, 2.0, 3.0], &[5.0, 7.0, 6.0]).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(correlation(&[1.0, 1.0], &[0.0, 1.0]), None);
        assert_eq!(correlation(&[1.0, f64::NEG_INFINITY], &[0.0, 1.0]), None);
    }
}
