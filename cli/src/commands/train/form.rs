//! What is trained, what it starts from, and what teaches it.

use super::arguments::{Arguments, Kind, Path as Interpolation, Switch};
use crate::data::Dataset;
use crate::failure::{Failure, Place, Result};
use crate::model::LoadedModel;
use mfm_core::Tensor;
use mfm_nn::{DitConfig, GaussianConfig, MlpConfig, Model, ModelConfig};
use std::path::Path;

/// The model's form, and the mean of the data.
pub(super) fn form(arguments: &Arguments, data: &Dataset) -> Result<(ModelConfig, Vec<f64>)> {
    let labels = if arguments.labels { data.label_count() } else { 0 };
    let config = match arguments.network {
        Kind::Mlp => ModelConfig::mlp(MlpConfig {
            width: arguments.width,
            depth: arguments.depth,
            frequencies: arguments.frequencies,
            labels,
            ..MlpConfig::new(data.dimension)
        }),
        Kind::Dit => ModelConfig::dit(transformer(arguments, data, labels)?),
    };
    let is_linear = arguments.interpolant == Interpolation::Linear;
    if arguments.precondition == Switch::On && !is_linear {
        return Err(Failure::input("--precondition on: it is known for --interpolant linear alone"));
    }
    if arguments.precondition == Switch::Off || !is_linear {
        return Ok((config, Vec::new()));
    }
    let (gaussian, mean) = GaussianConfig::of_data(&data.rows, data.dimension);
    gaussian.check().at(&data.source)?;
    Ok((config.preconditioned(gaussian), mean))
}

/// The form of a transformer for the data, whose samples must be square images.
fn transformer(arguments: &Arguments, data: &Dataset, labels: usize) -> Result<DitConfig> {
    let (channels, patch) = (arguments.channels, arguments.patch);
    let side = (1..=data.dimension).find(|side| channels * side * side >= data.dimension).unwrap_or(0);
    if channels * side * side != data.dimension {
        let what = format!("{} numbers are no square image of {channels} channels", data.dimension);
        return Err(Failure::input(format!("--network dit: {}: {what}", data.source)));
    }
    let guidance = if labels > 0 && arguments.guidance > 1.0 { vec![1.0, arguments.guidance] } else { Vec::new() };
    let config = DitConfig { labels, guidance, ..DitConfig::custom(arguments.size.0, channels, side, patch) };
    config.check().at("--network dit")?;
    Ok(config)
}

/// A model in a file that has the form of the one in training.
///
/// # Errors
/// If it has another.
pub(super) fn initial<T: Tensor>(path: &Path, device: &T::Device, config: &ModelConfig) -> Result<Model<T>> {
    let loaded = LoadedModel::<T>::load(path, device)?;
    if loaded.header.model != *config {
        return Err(Failure::input(format!("--initial: {} is of another form than these options describe", loaded.source)));
    }
    Ok(loaded.model)
}

/// A model to be distilled.
///
/// # Errors
/// If it does not fit the data, the path or the labels.
pub(super) fn teacher<T: Tensor>(path: &Path, device: &T::Device, arguments: &Arguments, data: &Dataset) -> Result<LoadedModel<T>> {
    let loaded = LoadedModel::<T>::load(path, device)?;
    let refuse = |what: String| Err(Failure::input(format!("--teacher: {} {what}", loaded.source)));
    data.expect_dimension(loaded.dimension(), &loaded.source)?;
    if loaded.header.interpolant != arguments.interpolant.interpolant().name() {
        return refuse(format!("belongs to the path {:?}", loaded.header.interpolant));
    }
    let labels = if arguments.labels { data.label_count() } else { 0 };
    if loaded.header.labels() != labels && (labels == 0 || loaded.header.labels() != 0) {
        return refuse(format!("knows {} labels, and the model in training {labels}", loaded.header.labels()));
    }
    Ok(loaded)
}
