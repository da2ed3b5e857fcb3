//! `mfm plot`: the loss curves of a run, and samples of its model.

use super::destination::{Groups, Samples, is_drawable};
use super::train::LogRow;
use crate::context::Context;
use crate::data::Values;
use crate::failure::{Failure, Place, Result};
use crate::model::{ConditionArguments, LoadedModel, shape};
use crate::output::{self, Directory};
use crate::run::{Line, RunFolder, command_of};
use crate::table::{Table, count, number, things};
use crate::training::fine_tuning::Row;
use mfm_core::sample::Sampler;
use mfm_core::{Device, Tensor};
use mfm_nn::file::Jumps;
use mfm_picture::{Axis, BLUE, Colour, Figure, GREEN, GREY, Layer, ORANGE, Panel, Picture};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Steps of Heun for samples by the ODE.
const ODE_STEPS: usize = 32;
/// Samples in a group of points, and in one of images.
const POINTS: usize = 1000;
const IMAGES: usize = 40;

/// The options of `mfm plot`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder of a run that `mfm train --run` or `mfm finetune --run` made; it may be running still
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
    /// What is logged of training, a mean over the last twentieth of the log: the diagonal and the consistency loss, or those of fine-tuning.
    #[serde(flatten)]
    pub recent: BTreeMap<&'static str, f64>,
    /// Seconds of training.
    pub seconds: f64,
}

/// Runs `mfm plot`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let report = draw(context, arguments)?;
    let (names, values): (Vec<_>, Vec<_>) = report.recent.iter().map(|(name, value)| (name.replace('_', " "), number(*value, 4))).unzip();
    let mut table = Table::new([vec!["step".to_owned()], names, vec!["seconds".into(), "pictures".into()]].concat());
    table.row([vec![count(report.step as usize)], values, vec![number(report.seconds, 3), report.pictures.join(", ")]].concat());
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
    let curves = if command_of(&options) == "finetune" { of_fine_tuning(&folder.lines()?) } else { of_training(&folder.lines()?) };
    let Some(curves) = curves else { return Err(Failure::input(format!("{place}: nothing is logged yet"))) };
    let out = Directory::create(arguments.out.as_ref().unwrap_or(&arguments.run))?;
    let mut pictures = vec![out.file("losses.png")];
    output::picture(&pictures[0], &curves.draw()?)?;

    // A run that is not over has a checkpoint, whose model is the average so far.
    let source = [folder.model(), folder.checkpoint()].into_iter().find(|path| path.exists());
    match source {
        None => context.say("there is no checkpoint yet, so there are no samples"),
        Some(path) => {
            let model = LoadedModel::<T>::load(&path, &context.device)?;
            if is_drawable(model.dimension()) {
                pictures.push(out.file("samples.png"));
                output::picture(&pictures[1], &samples(context, &model)?)?;
            } else {
                context.say(format!("samples of {} numbers cannot be drawn", model.dimension()));
            }
        }
    }
    Ok(Report {
        pictures: pictures.iter().map(|path| path.display().to_string()).collect(),
        step: curves.step,
        recent: curves
            .panels
            .iter()
            .filter(|series| series.colour != GREY)
            .filter_map(|series| Some((series.name, series.recent()?)))
            .collect(),
        seconds: curves.seconds,
    })
}

/// The curves of a log.
struct Curves {
    /// The last step.
    step: u64,
    /// The seconds until then.
    seconds: f64,
    panels: Vec<Series>,
}

/// One number along the steps.
struct Series {
    name: &'static str,
    title: &'static str,
    points: Vec<[f64; 2]>,
    is_logarithmic: bool,
    /// Grey for what is no outcome of training.
    colour: Colour,
}

impl Series {
    fn new<L: Line>(name: &'static str, title: &'static str, colour: Colour, lines: &[L], of: impl Fn(&L) -> Option<f64>) -> Self {
        let points = lines.iter().filter_map(|line| Some([line.step() as f64, of(line)?])).collect();
        Self { name, title, points, is_logarithmic: true, colour }
    }

    /// The same on an axis that is not logarithmic.
    fn linear(self) -> Self {
        Self { is_logarithmic: false, ..self }
    }

    /// The mean over the last twentieth; None where nothing is logged.
    fn recent(&self) -> Option<f64> {
        let recent = &self.points[self.points.len() - self.points.len().div_ceil(20)..];
        (!recent.is_empty()).then(|| recent.iter().map(|point| point[1]).sum::<f64>() / recent.len() as f64)
    }

    /// Behind the curve, which is a mean over its neighbours, the numbers themselves.
    fn panel(&self, last: u64) -> Panel {
        let is_shown = |y: f64| if self.is_logarithmic { y > 0.0 } else { y.is_finite() };
        let points: Vec<[f64; 2]> = self.points.iter().copied().filter(|point| is_shown(point[1])).collect();
        let values = points.iter().map(|point| point[1]);
        let axis = if self.is_logarithmic { logarithmic(values) } else { Axis::fit("", values) };
        let smooth = Layer::Curve { points: smoothed(&points), colour: self.colour, marked: points.len() == 1 };
        let panel = Panel::new(self.title, Axis::fit("step", [0.0, last as f64]), axis);
        panel.with(Layer::Points { points, colour: self.colour, radius: 1.2, opacity: 0.3 }).with(smooth)
    }
}

impl Curves {
    /// None of an empty log.
    fn new<L: Line>(lines: &[L], panels: Vec<Series>) -> Option<Self> {
        lines.last().map(|last| Self { step: last.step(), seconds: last.seconds(), panels })
    }

    fn draw(&self) -> mfm_picture::Result<Picture> {
        let title = format!("{} steps in {} s", count(self.step as usize), number(self.seconds, 3));
        let figure = Figure::new(title, 2).with_panel_size(430, 300);
        self.panels.iter().fold(figure, |figure, series| figure.with(series.panel(self.step))).draw()
    }
}

/// Losses, the gradient's norm and the learning rate.
fn of_training(lines: &[LogRow]) -> Option<Curves> {
    let panels = vec![
        Series::new("diagonal", "Diagonal loss", BLUE, lines, |line| Some(line.diagonal)),
        Series::new("consistency", "Consistency loss", ORANGE, lines, |line| Some(line.consistency)),
        Series::new("gradient_norm", "Gradient norm", GREY, lines, |line| Some(line.gradient_norm)),
        Series::new("learning_rate", "Learning rate", GREY, lines, |line| Some(line.learning_rate)),
    ];
    Curves::new(lines, panels)
}

/// The same of fine-tuning, with the reward of the model's samples and the effective sample size of the weights.
fn of_fine_tuning(lines: &[Row]) -> Option<Curves> {
    let mut panels = vec![Series::new("loss", "Loss of the drift", BLUE, lines, |line| Some(line.loss))];
    if lines.iter().any(|line| line.follow.is_some()) {
        panels.push(Series::new("follow", "Loss of the rest of the map", ORANGE, lines, |line| line.follow));
    }
    panels.extend([
        Series::new("mean_reward", "Mean reward of samples", GREEN, lines, |line| line.mean_reward).linear(),
        Series::new("effective_sample_size", "Effective sample size", GREY, lines, |line| Some(line.effective_sample_size)).linear(),
        Series::new("gradient_norm", "Gradient norm", GREY, lines, |line| Some(line.gradient_norm)),
        Series::new("learning_rate", "Learning rate", GREY, lines, |line| Some(line.learning_rate)),
    ]);
    Curves::new(lines, panels)
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
fn samples<T: Tensor>(context: &Context<T>, model: &LoadedModel<T>) -> Result<Picture> {
    let dimension = model.dimension();
    let size = if dimension <= 2 { POINTS } else { IMAGES };
    let x = context.device.normal(&context.noise.fork(1), shape(size, dimension)?)?;
    // Guided as far as the model can be, which is what it was trained for.
    let guidance = model.header.model.network.guidance().iter().copied().reduce(f64::max);
    let draw = |label: Option<usize>, steps: Option<usize>| -> Result<Values> {
        let condition = ConditionArguments { label, guidance: guidance.filter(|_| label.is_some()) };
        let flow = model.flow(&condition)?;
        let samples = steps.map_or_else(|| Sampler::ode(ODE_STEPS), Sampler::steps).sample(&flow, &x, &context.noise);
        model.numbers(&samples.at(&model.source)?)
    };
    let named = |steps: Option<usize>| steps.map_or_else(|| "ODE".to_owned(), |k| things(k, "step"));
    let has_jumps = model.header.jumps == Jumps::Trained;
    let ways: &[Option<usize>] = if has_jumps { &[Some(1), Some(2), Some(4), None] } else { &[None] };
    let (names, rows): (Vec<String>, Vec<Values>) = match model.header.labels() {
        0 => ways.iter().map(|&steps| Ok((named(steps), draw(None, steps)?))).collect::<Result<Vec<_>>>()?.into_iter().unzip(),
        labels => (0..labels.min(if dimension <= 2 { 9 } else { 10 }))
            .map(|label| Ok((format!("label {label}"), draw(Some(label), ways[0])?)))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip(),
    };
    let title = match model.header.labels() {
        0 => format!("Samples of {}", model.source),
        _ => format!("Samples of {}, {}", model.source, named(ways[0])),
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut all = Values::Single(Vec::new());
    rows.into_iter().for_each(|rows| all.extend(rows));
    Ok(Samples { title: &title, rows: &all, dimension, groups: Groups::Named(&names) }.draw()?)
}
