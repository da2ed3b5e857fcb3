//! Classifiers, trained from labelled data or read from a file.

use crate::context::Context;
use crate::data::Dataset;
use crate::failure::{Failure, Place, Result};
use crate::model::{check_near_zero, shape};
use crate::table::number;
use crate::training;
use mfm_core::autodiff::Var;
use mfm_core::{Device, Tensor};
use mfm_nn::file::{self, ClassifierFile, ClassifierHeader};
use mfm_nn::optimiser::OptimiserConfig;
use mfm_nn::train::random_rows;
use mfm_nn::{Classifier, ClassifierConfig, Coordinates, LearningRate, Module, TrainingConfig};
use std::path::Path;

/// How a classifier is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The width of its hidden layers.
    pub width: usize,
    /// Their number.
    pub depth: usize,
    /// Training steps.
    pub steps: u64,
    /// The batch size.
    pub batch: usize,
    /// The seed; classifiers of different seeds judge independently.
    pub seed: u64,
    /// Whether it learns from the columns of a table as they are, not standardised.
    pub raw: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { width: 128, depth: 2, steps: 600, batch: 256, seed: 1, raw: false }
    }
}

/// The classifier in a file, all of it checked, and what the file says about it.
///
/// # Errors
/// One sentence naming the file.
pub fn load<T: Tensor>(path: &Path, device: &T::Device) -> Result<(Classifier<T>, ClassifierHeader)> {
    let bytes = file::load(path)?;
    let file = ClassifierFile::parse(&bytes).at(path.display())?;
    Ok((file.to_classifier(device).at(path.display())?, file.header().clone()))
}

/// Trains a classifier on labelled data by cross-entropy, with a moving average of its weights. It learns from standardised columns of a table, and takes what the
/// table has.
///
/// # Errors
/// If the data have no labels, or training fails.
pub fn train<T: Tensor>(context: &Context<T>, data: &Dataset, settings: &Settings) -> Result<Classifier<T>> {
    let Some(labels) = &data.labels else { return Err(Failure::input(format!("{}: a classifier needs labels", data.source))) };
    let form = ClassifierConfig { data: data.dimension, width: settings.width, depth: settings.depth, classes: data.label_count() };
    let classifier = Classifier::new(&context.device, &form, &mfm_core::Noise::new(settings.seed))?;
    let config = TrainingConfig {
        steps: settings.steps,
        batch: settings.batch,
        rate: LearningRate::cosine(2e-3, settings.steps / 20),
        optimiser: OptimiserConfig { weight_decay: 1e-2, ..OptimiserConfig::default() },
        clip: Some(1.0),
        average: Some(0.99),
        seed: settings.seed,
    };
    let coordinates = if data.image.is_some() || settings.raw { Coordinates::default() } else { data.coordinates()? };
    // It takes the numbers as they are.
    check_near_zero(&coordinates, "a classifier").at(&data.source)?;
    let rows = context.device.from_slice(&data.entering(&coordinates)?, shape(data.len(), data.dimension)?)?;
    let trainer = training::train(
        context,
        &format!("training a classifier on {}", data.source),
        config,
        &classifier,
        &mut |_: u64, size: usize, noise: &_| random_rows(&rows, Some(labels), size, noise),
        |input| {
            let labels = input.samples.labels.as_deref().unwrap_or(&[]);
            input.student.cross_entropy(&Var::constant(input.samples.x1.clone()), labels)
        },
    )?;
    let classifier = trainer.averaged_precisely()?.leaving(&coordinates)?;
    let share = accuracy(context, &classifier.to_working()?, data)?;
    context.detail(format!("the classifier names {} % of {} rightly", number(100.0 * share, 4), data.source));
    Ok(classifier)
}

/// The share of the data whose label is the classifier's.
///
/// # Errors
/// If the data do not fit the classifier.
pub fn accuracy<T: Tensor>(context: &Context<T>, classifier: &Classifier<T>, data: &Dataset) -> Result<f64> {
    let found = classifier.classify(&data.tensor(&context.device)?)?;
    let right = found.iter().zip(data.labels.iter().flatten()).filter(|(a, b)| a == b).count();
    Ok(right as f64 / found.len().max(1) as f64)
}
