//! What a file says about its model.

use super::{FileError, Jumps, MAGIC};
use crate::classifier::ClassifierConfig;
use crate::coordinates::Coordinates;
use crate::model::ModelConfig;
use crate::train::TrainingConfig;
use alloc::string::String;
use alloc::vec::Vec;
use mfm_core::{Error, MAX_RANK, Shape};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a kind of file says about what it holds.
pub trait Header: Serialize + DeserializeOwned {
    /// What such a file begins with.
    const MAGIC: [u8; 8];
    /// What it holds, in words.
    const WHAT: &'static str;

    /// That its parts belong together and are in range; no other header is read or written.
    ///
    /// # Errors
    /// [`FileError::Header`] or [`FileError::Tensor`], naming the part.
    fn check(&self) -> Result<(), FileError>;
}

impl Header for ModelHeader {
    const MAGIC: [u8; 8] = MAGIC;
    const WHAT: &'static str = "a model";

    fn check(&self) -> Result<(), FileError> {
        let dimension = self.model.network.data();
        if self.item.shape()?.elements() != dimension {
            return Err(FileError::Header { what: "the item's shape is not that of the model's data" });
        }
        if !self.coordinates.is_identity() && self.coordinates.mean().len() != dimension {
            return Err(FileError::Header { what: "the coordinates are not those of the model's data" });
        }
        self.coordinates.check()?;
        check_guidance(self.guided_by)
    }
}

impl Header for ClassifierHeader {
    const MAGIC: [u8; 8] = *b"MFMCLASS";
    const WHAT: &'static str = "a classifier";

    fn check(&self) -> Result<(), FileError> {
        if !self.classes.is_empty() && self.classes.len() != self.classifier.classes {
            return Err(FileError::Header { what: "there is not one name for each class" });
        }
        Ok(())
    }
}

/// Checks that a model can have been guided by this scale.
pub(super) fn check_guidance(scale: Option<f64>) -> Result<(), FileError> {
    match scale {
        Some(value) if !(value > 1.0 && value.is_finite()) => {
            Err(Error::Range { what: "the guidance scale of a model's training", value, range: "above 1 and finite" }.into())
        }
        _ => Ok(()),
    }
}

/// What a file says about its [`Classifier`](crate::Classifier).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifierHeader {
    /// The classifier's form.
    pub classifier: ClassifierConfig,
    /// The names of its classes, or none.
    pub classes: Vec<String>,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// A shape, as files hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemShape {
    rank: u8,
    axes: [u64; MAX_RANK],
}

impl From<Shape> for ItemShape {
    fn from(shape: Shape) -> Self {
        let mut axes = [0; MAX_RANK];
        for (slot, axis) in axes.iter_mut().zip(shape.axes()) {
            *slot = *axis as u64;
        }
        Self { rank: shape.rank() as u8, axes }
    }
}

impl ItemShape {
    /// The shape.
    ///
    /// # Errors
    /// [`Error::Rank`] for a rank above [`MAX_RANK`] or an axis beyond it, [`Error::TooLarge`] if the elements cannot be counted.
    pub fn shape(&self) -> mfm_core::Result<Shape> {
        let rank = usize::from(self.rank);
        let beyond = self.axes.get(rank..).is_none_or(|rest| rest.iter().any(|axis| *axis != 0));
        if beyond {
            return Err(Error::Rank { op: "shape in a file", rank });
        }
        let mut axes = [0; MAX_RANK];
        for (slot, axis) in axes.iter_mut().zip(self.axes) {
            *slot = usize::try_from(axis).map_err(|_| Error::TooLarge { op: "shape in a file", shape: Shape::SCALAR })?;
        }
        Shape::new(&axes[..rank])
    }
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// The training steps of all runs that led to it, one after another.
    pub steps: u64,
    /// The seed of the last run.
    pub seed: u64,
    /// What it was trained by in the last run, in words.
    pub objective: String,
    /// What it was trained on in the last run, in words.
    pub data: String,
    /// The library that wrote the file, name and version.
    pub library: String,
}

/// Marks a file as a checkpoint, which holds a [`TrainingState`](crate::train::TrainingState) beside the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The steps made.
    pub step: u64,
    /// The settings of the run.
    pub config: TrainingConfig,
    /// Whether there is a moving average.
    pub average: bool,
    /// What the loss keeps between steps, as the running mean of fine-tuning's weights; mostly nothing.
    pub memory: Vec<f64>,
}

/// What a file says about its model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelHeader {
    /// The model's form, with its path, which is one that [`by_name`](mfm_core::interpolant::by_name) knows, and its number of labels.
    pub model: ModelConfig,
    /// The shape of one item of data.
    pub item: ItemShape,
    /// Where it comes from.
    pub provenance: Provenance,
    /// The training state beside the model, if any.
    pub training: Option<TrainingRecord>,
    /// The coordinates in which the model works, mostly the data's own.
    pub coordinates: Coordinates,
    /// The guidance scale of its training, above 1, by which what it knows of labels is guided already; none for a model that was not guided, or is told
    /// the scale.
    pub guided_by: Option<f64>,
    /// What its jumps are worth, which whoever trains it says.
    pub jumps: Jumps,
}

impl ModelHeader {
    /// The header of a model for items of shape `item`, of unknown provenance, in the data's own coordinates, not guided, its jumps trained.
    pub fn new(model: ModelConfig, item: Shape) -> Self {
        let (item, provenance) = (item.into(), Provenance::default());
        Self { model, item, provenance, training: None, coordinates: Coordinates::default(), guided_by: None, jumps: Jumps::default() }
    }

    /// The training steps made in all runs so far; of a checkpoint, whose provenance is that of its finished run, those before it was written.
    pub fn steps_made(&self) -> u64 {
        let left = self.training.as_ref().map_or(0, |record| record.config.steps.saturating_sub(record.step));
        self.provenance.steps.saturating_sub(left)
    }

    /// Whether the network takes a guidance scale as an input.
    pub fn takes_scale(&self) -> bool {
        !self.model.network.guidance().is_empty()
    }

    /// The number of labels, 0 for none.
    pub fn labels(&self) -> usize {
        self.model.network.labels()
    }
}
