//! `mfm train`: a Meta Flow Map from data.

mod arguments;
mod form;
mod row;
mod settings;

pub use arguments::{Arguments, Kind, Loss, Optimiser, Path, Size, Switch};
pub use row::LogRow;

use crate::context::Context;
use crate::data::{self, LabelColumn, Source};
use crate::failure::{Failure, Place, Result};
use crate::model::{LoadedModel, save};
use crate::output;
use crate::run::{Checkpoint, Log, RunFolder, State, Watch};
use crate::table::{Table, count, number};
use mfm_core::drift::ClassifierFree;
use mfm_core::training::{Objective, Velocities};
use mfm_core::{Flow, Shape, Tensor};
use mfm_nn::file::{Jumps, LIBRARY, Provenance};
use mfm_nn::train::LossInput;
use mfm_nn::{Coordinates, LossWeighting, Model, ModelConfig, ModelHeader, Module, Trainer, Weighted};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// What is in training.
type Subject<T> = Weighted<Model<T>, T>;

/// What `--json` reports.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The file of the model.
    pub model: String,
    /// Where the data came from.
    pub data: String,
    /// Their number.
    pub samples: usize,
    /// The numbers of each.
    pub dimension: usize,
    /// The numbers that were trained.
    pub parameters: usize,
    /// The steps of the run.
    pub steps: u64,
    /// How some two hundred of them went.
    pub losses: Vec<LogRow>,
    /// Seconds of training.
    pub seconds: f64,
}

/// Runs `mfm train`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let report = make(context, arguments)?;
    let mut table = Table::new(["model", "samples", "parameters", "steps", "diagonal loss", "consistency loss", "seconds"]);
    let last = report.losses.last();
    let shown = |of: fn(&LogRow) -> f64| last.map(|row| number(of(row), 4)).unwrap_or_default();
    table.row([
        report.model.clone(),
        count(report.samples),
        count(report.parameters),
        count(report.steps as usize),
        shown(|row| row.diagonal),
        shown(|row| row.consistency),
        number(report.seconds, 3),
    ]);
    context.table(&table)?;
    context.results(&report)
}

/// Trains a model and writes its file.
///
/// # Errors
/// One sentence for the user.
pub fn make<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<Report> {
    let kept = Kept::of(arguments)?;
    if arguments.learned_weighting && (arguments.teacher.is_some() || arguments.adaptive_power > 0.0) {
        let (option, why) = if arguments.teacher.is_some() {
            ("--teacher", "whose loss has no size of its own")
        } else {
            ("--adaptive-power", "which undoes it")
        };
        return Err(Failure::input(format!("--learned-weighting: it does not go with {option}, {why}")));
    }
    let data = source(context, arguments)?;
    let device = &context.device;
    let teacher = arguments.teacher.as_ref().map(|path| form::teacher::<T>(path, device, arguments, &data)).transpose()?;
    let initial = arguments.initial.as_ref().map(|path| form::initial::<T>(path, device, &data)).transpose()?;
    let from: Vec<&LoadedModel<T>> = teacher.iter().chain(&initial).collect();
    let coordinates = form::coordinates(arguments, &data, &from)?;
    let data = data.entering(&coordinates)?;
    let (config, mean) = form::form(arguments, &data)?;
    let (model, steps_before) = match initial {
        Some(initial) => {
            form::check_initial(&initial, &config)?;
            let steps = initial.header.steps_made();
            (initial.saved.model, steps)
        }
        None => (Model::<T>::new(device, &config, &mean, &context.noise.fork(0)).at(data.name())?, 0),
    };
    let model = model.recomputing(arguments.recompute);
    let parameters = model.parameter_count();
    context.say(format!(
        "{}: {} samples of {} numbers{}; a network of {} parameters",
        data.name(),
        count(data.len()),
        data.dimension(),
        if coordinates.is_identity() { "" } else { ", each standardised" },
        count(parameters)
    ));
    if arguments.labels && !data.classes().is_empty() {
        let names = data.classes().iter().enumerate().map(|(label, name)| format!("{label} {name}"));
        context.say(format!("labels: {}", names.collect::<Vec<_>>().join(", ")));
    }
    let header = header(context, arguments, &data, config, coordinates, steps_before)?;
    let start = Instant::now();
    let (model, losses) = train(context, arguments, &kept, &data, &model, teacher.as_ref(), &header)?;
    let seconds = start.elapsed().as_secs_f64();
    save(&kept.model, &model, &header)?;
    Ok(Report {
        model: kept.model.display().to_string(),
        data: data.name().to_owned(),
        samples: data.len(),
        dimension: data.dimension(),
        parameters,
        steps: arguments.steps,
        losses,
        seconds,
    })
}

/// The data.
fn source<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<Source> {
    let data = match &arguments.data {
        Some(path) => data::open(path, arguments.label_column)?,
        None if arguments.digits => Source::Memory(data::digits()?),
        None => return Err(Failure::input("<DATA> or --digits: there is no run yet to go on with, so it must be told what to train on")),
    };
    if arguments.labels && !data.has_labels() {
        let way = if data.has_columns() { "; name their column by --label-column" } else { "" };
        return Err(Failure::input(format!("--labels: {} has no labels{way}", data.name())));
    }
    if arguments.data.is_none() && arguments.label_column != LabelColumn::None {
        return Err(Failure::input("--label-column: the digits bring their labels"));
    }
    if arguments.guidance > 1.0 && !arguments.labels {
        return Err(Failure::input("--guidance: it guides to labels, which are trained on with --labels alone"));
    }
    if arguments.check_data {
        data.check(context)?;
    }
    Ok(data)
}

/// What the file of the model will say about it, after training from a model of so many steps.
fn header<T: Tensor>(
    context: &Context<T>,
    arguments: &Arguments,
    data: &Source,
    config: ModelConfig,
    coordinates: Coordinates,
    steps_before: u64,
) -> Result<ModelHeader> {
    let mut header = ModelHeader::new(config, Shape::new(&[data.dimension()])?);
    header.coordinates = coordinates;
    // A network that takes the scale knows the unguided model, too.
    header.guided_by = Some(arguments.guidance).filter(|scale| *scale > 1.0 && !header.takes_scale());
    header.jumps = Jumps::trained_by(arguments.consistency.consistency(arguments.teacher.is_some()));
    header.provenance = Provenance {
        steps: steps_before + arguments.steps,
        seed: context.seed,
        data: format!("{} samples of {}", data.len(), data.name()),
        objective: settings::describe(arguments),
        library: LIBRARY.into(),
    };
    Ok(header)
}

/// Where a run is kept.
struct Kept {
    model: PathBuf,
    checkpoint: Option<PathBuf>,
    folder: Option<RunFolder>,
}

impl Kept {
    fn of(arguments: &Arguments) -> Result<Self> {
        let (folder, model) = RunFolder::place(arguments.run.as_deref(), arguments.out.as_deref(), arguments.resume)?;
        let checkpoint = folder.as_ref().map(RunFolder::checkpoint).or_else(|| arguments.checkpoint.clone());
        if arguments.resume && checkpoint.is_none() {
            return Err(Failure::input("--resume: the run is named by --run or --checkpoint, and neither is given"));
        }
        Ok(Self { model, checkpoint, folder })
    }
}

/// The trained model (its moving average, if there is one), and the losses along the way.
fn train<T: Tensor>(
    context: &Context<T>,
    arguments: &Arguments,
    kept: &Kept,
    data: &Source,
    model: &Model<T>,
    teacher: Option<&LoadedModel<T>>,
    header: &ModelHeader,
) -> Result<(Model<T>, Vec<LogRow>)> {
    let path = arguments.interpolant.interpolant();
    let teacher = teacher.map(|teacher| ClassifierFree {
        map: &teacher.model,
        null_label: Some(teacher.header.labels()).filter(|labels| *labels > 0),
        scale: arguments.guidance,
        guided_by: teacher.header.guided_by,
        takes_scale: teacher.header.takes_scale(),
    });
    let times = arguments.times();
    let objective = settings::objective(arguments, data, header);
    let config = settings::settings(arguments, context.seed);
    config.check()?;
    if arguments.accumulate > config.batch {
        let (parts, batch) = (arguments.accumulate, config.batch);
        return Err(Failure::input(format!("--accumulate {parts}: a batch of {batch} has no more than {batch} parts")));
    }
    let mut feed = data.feed::<T>(&context.device, arguments.labels, config.seed, config.batch)?;
    if let Some(folder) = &kept.folder {
        folder.create(&arguments.options)?;
    }
    let checkpoint = match &kept.checkpoint {
        Some(path) => {
            // A run that was killed may have been writing its model.
            output::remove_remains(&kept.model);
            Some(Checkpoint::new(path, arguments.checkpoint_every, header, config)?)
        }
        None => None,
    };
    let state = match &checkpoint {
        Some(checkpoint) if arguments.resume => checkpoint.load(&context.device)?,
        _ => None,
    };
    let weighting = if arguments.learned_weighting { Some(LossWeighting::new(&context.device)?) } else { None };
    let subject = Weighted { map: model.clone(), weighting };
    let mut trainer = match state {
        Some(state) => Trainer::resume(config, &subject, state.trainer)?,
        None => Trainer::new(config, &subject)?,
    };
    trainer = trainer.accumulating(arguments.accumulate).at("--accumulate")?;
    let log = match &kept.folder {
        Some(folder) => Some(Log::open::<LogRow>(&folder.log(), trainer.steps_made(), arguments.log_every)?),
        None => None,
    };
    let mut watch = Watch::new(context, "training", checkpoint.as_ref(), log, trainer.steps_made(), arguments.steps);
    let outcome = trainer.run(
        &mut feed,
        |input: LossInput<'_, T, Subject<T>>| {
            let objective = Objective { times: times.at(input.step), ..objective };
            let velocities = match (&teacher, &input.student.weighting) {
                (Some(teacher), _) => Velocities::Teacher(teacher),
                (None, Some(scale)) => Velocities::Weighted(scale),
                (None, None) => Velocities::Data,
            };
            objective.loss(&Flow::new(&input.frozen.map, path), &input.student.map, velocities, input.samples.batch(), input.noise)
        },
        |trainer, step| {
            let save = |checkpoint: &Checkpoint| checkpoint.save(&trainer.averaged_precisely()?.map, &State::of(trainer));
            watch.look(step, false, |_, seconds| LogRow::of(step, seconds), save)
        },
    );
    if let Some(failure) = watch.broken.or(feed.broken) {
        return Err(failure.at(format!("training on {}", data.name())));
    }
    outcome.at(format!("training on {}", data.name()))?;
    Ok((trainer.averaged_precisely()?.map, watch.lines))
}
