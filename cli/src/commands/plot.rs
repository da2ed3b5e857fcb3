//! `mfm plot`: the loss curves of a run, and samples of its model.

use super::destination::{Groups, Samples, is_drawable};
use super::train::{LogRow, RunFolder};
use crate::context::Context;
use crate::failure::{Failure, Place, Result};
use crate::model::{LoadedModel, shape};
use crate::output::Directory;
use crate::picture::{Axis, BLUE, Colour, Figure, GREY, Layer, ORANGE, Panel, Picture};
use crate::table::{Table, count, number};
use mfm_core::sample::{sample_by_integration, sample_by_steps};
use mfm_core::steer::{Dynamics, Scheme, Steering};
use mfm_core::{Device, Tensor, TimeGrid};
use serde::Serialize;
use std::path::PathBuf;

/// Steps of Heun for samples by the ODE.
const ODE_STEPS: usize = 32;
/// Samples in a group of points, and in one of images.
const POINTS: usize = 1000;
const IMAGES: usize = 40;

/// The options of `mfm plot`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder of a run that `mfm train --run` made; it may be running still
    pub run: PathBuf,
    /// The folder for the pictures losses.png and samples.png [default: that of the run]
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// What was drawn, and how the run stands.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The files of the pictures.
    pub pictures: Vec<String>,
    /// The last step that is logged.
    pub step: u64,
    /// The diagonal loss, a mean over the last twentieth of the log.
    pub diagonal: f64,
    /// The consistency loss, the same mean.
    pub consistency: f64,
    /// Seconds of training.
    pub seconds: f64,
}

/// Runs `mfm plot`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let report = draw(context, arguments)?;
    let mut table = Table::new(["step", "diagonal loss", "consistency loss", "seconds", "pictures"]);
    let (diagonal, consistency) = (number(report.diagonal, 4), number(report.consistency, 4));
    table.row([count(report.step as usize), diagonal, consistency, number(report.seconds, 3), report.pictures.join(", ")]);
    context.table(&table)?;
    context.results(&report)
}

/// Draws the pictures.
///
/// # Errors
/// One sentence for the user.
pub fn draw<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<Report> {
    let folder = RunFolder::new(&arguments.run);
    let place = arguments.run.display();
    let Some(options) = folder.options()? else {
        return Err(Failure::input(format!("{place} holds no run: mfm train --run makes one")));
    };
    let rows = folder.rows()?;
    let Some(last) = rows.last() else { return Err(Failure::input(format!("{place}: nothing is logged yet"))) };
    let out = Directory::create(arguments.out.as_ref().unwrap_or(&arguments.run))?;
    let mut pictures = vec![out.file("losses.png")];
    curves(&rows)?.save(&pictures[0])?;

    // A run that is not over has a checkpoint, whose model is the average so far.
    let source = [folder.model(), folder.checkpoint()].into_iter().find(|path| path.exists());
    match source {
        None => context.say("there is no checkpoint yet, so there are no samples"),
        Some(path) => {
            let model = LoadedModel::<T>::load(&path, &context.device)?;
            if is_drawable(model.dimension()) {
                let jumps = !matches!(options.get("consistency").and_then(|loss| loss.as_str()), Some("none" | "flow"));
                pictures.push(out.file("samples.png"));
                samples(context, &model, jumps)?.save(&pictures[1])?;
            } else {
                context.say(format!("samples of {} numbers cannot be drawn", model.dimension()));
            }
        }
    }
    let recent = &rows[rows.len() - rows.len().div_ceil(20)..];
    let mean = |of: fn(&LogRow) -> f64| recent.iter().map(of).sum::<f64>() / recent.len() as f64;
    Ok(Report {
        pictures: pictures.iter().map(|path| path.display().to_string()).collect(),
        step: last.step,
        diagonal: mean(|row| row.diagonal),
        consistency: mean(|row| row.consistency),
        seconds: last.seconds,
    })
}

/// Losses, the gradient's norm and the learning rate along the steps.
fn curves(rows: &[LogRow]) -> Result<Picture> {
    let steps = || Axis::fit("step", rows.iter().map(|row| row.step as f64).chain([0.0]));
    // Behind each curve, which is a mean over its neighbours, the numbers themselves.
    let panel = |title: &str, of: &dyn Fn(&LogRow) -> f64, colour: Colour| {
        let points: Vec<[f64; 2]> = rows.iter().map(|row| [row.step as f64, of(row)]).filter(|point| point[1] > 0.0).collect();
        let panel = Panel::new(title, steps(), logarithmic(points.iter().map(|point| point[1])));
        let smooth = Layer::Curve { points: smoothed(&points), colour, marked: points.len() == 1 };
        panel.with(Layer::Points { points, colour, radius: 1.2, opacity: 0.3 }).with(smooth)
    };
    let title = match rows.last() {
        Some(row) => format!("{} steps in {} s", count(row.step as usize), number(row.seconds, 3)),
        None => String::new(),
    };
    let figure = Figure::new(title, 2).with_panel_size(430, 300);
    let figure =
        figure.with(panel("Diagonal loss", &|row| row.diagonal, BLUE)).with(panel("Consistency loss", &|row| row.consistency, ORANGE));
    figure.with(panel("Gradient norm", &|row| row.gradient_norm, GREY)).with(panel("Learning rate", &|row| row.learning_rate, GREY)).draw()
}

/// A logarithmic axis for all positive values.
fn logarithmic(values: impl Iterator<Item = f64>) -> Axis {
    let positive = values.filter(|value| *value > 0.0 && value.is_finite());
    let (low, high) = positive.fold((f64::INFINITY, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
    if low > high { Axis::logarithmic("", 0.1, 1.0) } else { Axis::logarithmic("", low / 1.2, high * 1.2) }
}

/// Means over a fortieth of the curve, at up to some 400 places along it.
fn smoothed(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let reach = points.len() / 80;
    let window = |i: usize| &points[i.saturating_sub(reach)..(i + reach + 1).min(points.len())];
    let mean = |i: usize| window(i).iter().map(|point| point[1] / window(i).len() as f64).sum();
    let places = (0..points.len()).step_by((points.len() / 400).max(1)).chain(points.len().checked_sub(1));
    places.map(|i| [points[i][0], mean(i)]).collect()
}

/// Samples by a few steps of the map and by the ODE, from the same noise; of a model with labels, for each of them.
fn samples<T: Tensor>(context: &Context<T>, model: &LoadedModel<T>, jumps: bool) -> Result<Picture> {
    let dimension = model.dimension();
    let size = if dimension <= 2 { POINTS } else { IMAGES };
    let x = context.device.normal(&context.noise.fork(1), shape(size, dimension)?)?;
    let draw = |label: &[usize], steps: Option<usize>| -> Result<Vec<f32>> {
        let flow = model.flow(label);
        let samples = match steps {
            Some(steps) => sample_by_steps(&flow, &TimeGrid::uniform(steps), &x),
            None => {
                let steering = Steering { dynamics: Dynamics::Ode, scheme: Scheme::Heun, grid: TimeGrid::uniform(ODE_STEPS) };
                sample_by_integration(&flow, &steering, &x, &context.noise)
            }
        };
        model.numbers(&samples.at(&model.source)?)
    };
    let named = |steps: Option<usize>| steps.map_or_else(|| "ODE".to_owned(), |k| format!("{k} step{}", if k == 1 { "" } else { "s" }));
    let ways: &[Option<usize>] = if jumps { &[Some(1), Some(2), Some(4), None] } else { &[None] };
    let (names, rows): (Vec<String>, Vec<Vec<f32>>) = match model.header.labels() {
        0 => ways.iter().map(|&steps| Ok((named(steps), draw(&[], steps)?))).collect::<Result<Vec<_>>>()?.into_iter().unzip(),
        labels => (0..labels.min(if dimension <= 2 { 9 } else { 10 }))
            .map(|label| Ok((format!("label {label}"), draw(&[label], ways[0])?)))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip(),
    };
    let title = match model.header.labels() {
        0 => format!("Samples of {}", model.source),
        _ => format!("Samples of {}, {}", model.source, named(ways[0])),
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Samples { title: &title, rows: &rows.concat(), dimension, groups: Groups::Named(&names) }.draw()
}
