//! What is trained, what it starts from, and what teaches it.

use super::arguments::{Arguments, Kind, Switch};
use crate::data::Source;
use crate::failure::{Failure, Place, Result};
use crate::model::LoadedModel;
use mfm_core::Tensor;
use mfm_nn::{Coordinates, DitConfig, MlpConfig, ModelConfig};
use std::path::Path;

/// The model's form, and the mean of the data.
pub(super) fn form(arguments: &Arguments, data: &Source) -> Result<(ModelConfig, Vec<f64>)> {
    let labels = if arguments.labels { data.label_count() } else { 0 };
    let config = match arguments.network {
        Kind::Mlp => ModelConfig::mlp(MlpConfig {
            width: arguments.width,
            depth: arguments.depth,
            frequencies: arguments.frequencies,
            labels,
            ..MlpConfig::new(data.dimension())
        }),
        Kind::Dit => ModelConfig::dit(transformer(arguments, data, labels)?),
    };
    let config = config.on_path(arguments.interpolant.interpolant());
    if arguments.precondition == Switch::Off {
        return Ok((config, Vec::new()));
    }
    let (gaussian, mean) = data.gaussian()?;
    gaussian.check().at(data.name())?;
    Ok((config.preconditioned(gaussian), mean))
}

/// The form of a transformer for the data, whose samples must be square images.
fn transformer(arguments: &Arguments, data: &Source, labels: usize) -> Result<DitConfig> {
    let (known, dimension, patch) = (data.image(), data.dimension(), arguments.patch);
    let refuse = |what: String| Err(Failure::input(format!("--network dit: {}: {what}", data.name())));
    let channels = match (arguments.channels, known) {
        (Some(channels), Some([found, ..])) if channels != found => {
            return refuse(format!("its images have {found} channels, not {channels}"));
        }
        (Some(channels), _) => channels,
        (None, known) => known.map_or(1, |[channels, ..]| channels),
    };
    let side = match known {
        Some([_, height, width]) if height != width => {
            return refuse(format!("its images are of {width} × {height} pixels, and not square"));
        }
        Some([_, height, _]) => height,
        None => (1..=dimension).find(|side| channels * side * side >= dimension).unwrap_or(0),
    };
    if channels * side * side != dimension {
        return refuse(format!("{dimension} numbers are no square image of {channels} channels"));
    }
    let guidance = if labels > 0 && arguments.guidance > 1.0 { vec![1.0, arguments.guidance] } else { Vec::new() };
    let config = DitConfig { labels, guidance, ..DitConfig::custom(arguments.size.0, channels, side, patch) };
    config.check().at("--network dit")?;
    Ok(config)
}

/// The coordinates of the model in training: those of the models that it comes from, if there are any; else those in which the columns of a table are
/// standardised, for an MLP, unless it is to stay raw.
///
/// # Errors
/// If these models disagree with one another or with the options.
pub(super) fn coordinates<T: Tensor>(arguments: &Arguments, data: &Source, from: &[&LoadedModel<T>]) -> Result<Coordinates> {
    if let [first, rest @ ..] = from {
        let own = first.coordinates();
        if let Some(other) = rest.iter().find(|other| other.coordinates() != own) {
            return Err(Failure::input(format!("{} and {} work in different coordinates", first.source, other.source)));
        }
        if arguments.raw && !own.is_identity() {
            return Err(Failure::input(format!("--raw: {} was trained on standardised columns", first.source)));
        }
        return Ok(own.clone());
    }
    match data {
        Source::Memory(table) if data.has_columns() && arguments.network == Kind::Mlp && !arguments.raw => table.coordinates(),
        _ => Ok(Coordinates::default()),
    }
}

/// A model to start from.
///
/// # Errors
/// If it does not fit the data.
pub(super) fn initial<T: Tensor>(path: &Path, device: &T::Device, data: &Source) -> Result<LoadedModel<T>> {
    let loaded = LoadedModel::<T>::load(path, device)?;
    if loaded.dimension() == data.dimension() { Ok(loaded) } else { Err(of_another_form(&loaded)) }
}

/// Checks that a model to start from has the form of the one in training.
///
/// # Errors
/// If it has another.
pub(super) fn check_initial<T: Tensor>(loaded: &LoadedModel<T>, config: &ModelConfig) -> Result<()> {
    if loaded.header.model == *config { Ok(()) } else { Err(of_another_form(loaded)) }
}

fn of_another_form<T: Tensor>(loaded: &LoadedModel<T>) -> Failure {
    Failure::input(format!("--initial: {} is of another form than these options describe", loaded.source))
}

/// A model to be distilled.
///
/// # Errors
/// If it does not fit the data, the path or the labels.
pub(super) fn teacher<T: Tensor>(path: &Path, device: &T::Device, arguments: &Arguments, data: &Source) -> Result<LoadedModel<T>> {
    let loaded = LoadedModel::<T>::load(path, device)?;
    let refuse = |what: String| Err(Failure::input(format!("--teacher: {} {what}", loaded.source)));
    if data.dimension() != loaded.dimension() {
        return refuse(format!("takes {} numbers, but each sample of {} has {}", loaded.dimension(), data.name(), data.dimension()));
    }
    if loaded.path.name() != arguments.interpolant.interpolant().name() {
        return refuse(format!("belongs to the path {:?}", loaded.path.name()));
    }
    let labels = if arguments.labels { data.label_count() } else { 0 };
    if loaded.header.labels() != labels && (labels == 0 || loaded.header.labels() != 0) {
        return refuse(format!("knows {} labels, and the model in training {labels}", loaded.header.labels()));
    }
    Ok(loaded)
}
