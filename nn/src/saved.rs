//! A model together with what its file says about it: what a program loads, samples and saves.

use crate::condition::ConditionError;
use crate::coordinates::{Coordinates, InCoordinates};
#[cfg(feature = "std")]
use crate::file;
use crate::file::{FileError, Jumps, ModelFile, ModelHeader};
use crate::model::Model;
use alloc::vec::Vec;
use mfm_core::tensor::Element;
use mfm_core::{Condition, Device, Error, Flow, Interpolant, Result, Shape, Tensor};

/// A model of one of the library's paths, with what a file says about it. It works in [coordinates](Self::coordinates) of its own: states go in through
/// [`states`](Self::states), rewards through [`reward`](Self::reward), and samples come out through [`rows`](Self::rows), all in the units of the data.
#[derive(Clone, Debug)]
pub struct SavedModel<T> {
    /// The model.
    pub model: Model<T>,
    /// What its file says about it, or would.
    pub header: ModelHeader,
    /// The path that it is for.
    pub path: &'static dyn Interpolant,
}

impl<T: Tensor> SavedModel<T> {
    /// A model with such a header, in which its form is filled in.
    ///
    /// # Errors
    /// [`FileError::Path`] for a path that [`by_name`](mfm_core::interpolant::by_name) does not know.
    pub fn new(model: Model<T>, header: ModelHeader) -> core::result::Result<Self, FileError> {
        let header = ModelHeader { model: model.config(), ..header };
        match header.model.path() {
            Some(path) => Ok(Self { model, header, path }),
            None => Err(FileError::Path { name: header.model.interpolant }),
        }
    }

    /// The model of a file on a device.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`ModelFile::to_model`].
    pub fn of(file: &ModelFile<'_>, device: &T::Device) -> core::result::Result<Self, FileError> {
        Self::new(file.to_model(device)?, file.header().clone())
    }

    /// The model of the file at `path`, all of it checked.
    ///
    /// # Errors
    /// As [`file::load`], and [`FileError::In`] with one of [`ModelFile::parse`] or [`of`](Self::of).
    #[cfg(feature = "std")]
    pub fn load(path: impl AsRef<std::path::Path>, device: &T::Device) -> core::result::Result<Self, FileError> {
        let path = path.as_ref();
        let bytes = file::load(path)?;
        ModelFile::parse(&bytes).and_then(|file| Self::of(&file, device)).map_err(file::within(path))
    }

    /// Writes it to a file, whole or not at all.
    ///
    /// # Errors
    /// As [`file::save`], and [`FileError::In`] with one of [`file::write_model`].
    #[cfg(feature = "std")]
    pub fn save(&self, path: impl AsRef<std::path::Path>) -> core::result::Result<(), FileError> {
        let path = path.as_ref();
        file::save(path, &file::write_model(&self.model, &self.header, None).map_err(file::within(path))?)
    }

    /// The numbers of an item of data.
    pub fn dimension(&self) -> usize {
        self.header.model.network.data()
    }

    /// Those in which the model works.
    pub fn coordinates(&self) -> &Coordinates {
        &self.header.coordinates
    }

    /// The model as samplers take it, under a condition ([`Condition::NONE`] for none). It looks at states in the model's coordinates.
    ///
    /// # Errors
    /// As [`ModelHeader::check_condition`].
    pub fn flow<'a>(&'a self, condition: Condition<'a>) -> core::result::Result<Flow<'a, Model<T>>, ConditionError> {
        self.header.check_condition(condition)?;
        Ok(Flow::new(&self.model, self.path).with_condition(condition))
    }

    /// Why draws by the model's map, in one step or a few, are not to be relied on, in words that go on from its name; `None` where nothing is known
    /// against them. [`ModelHeader::jumps`] says which.
    pub fn fault_of_jumps(&self) -> Option<&'static str> {
        match self.header.jumps {
            Jumps::Trained => None,
            Jumps::Untrained => Some("was trained by velocities alone, as a flow model: draws by its map mean nothing"),
            Jumps::LeftBehind => Some("was fine-tuned in its drift alone: draws by its map do not follow it"),
        }
    }

    /// States in the units of the data, item after item, as a tensor `[n, dimension]` in the model's coordinates.
    ///
    /// # Errors
    /// [`Error::Length`] for numbers that are no whole items; whatever the device reports.
    pub fn states<N: Element>(&self, rows: &[N], device: &T::Device) -> Result<T> {
        let count = self.items(rows.len())?;
        device.from_slice(&self.coordinates().enter_rows(rows)?, Shape::new(&[count, self.dimension()])?)
    }

    /// Samples in the units of the data, item after item.
    ///
    /// # Errors
    /// [`Error::Length`] for numbers that are no whole items; whatever the device reports.
    pub fn rows(&self, samples: &T) -> Result<Vec<f64>> {
        self.items(samples.shape().elements())?;
        self.coordinates().leave_rows(&samples.to_vec::<f64>()?)
    }

    /// How many items so many numbers are.
    fn items(&self, found: usize) -> Result<usize> {
        let dimension = self.dimension();
        match found.checked_div(dimension) {
            Some(count) if count * dimension == found => Ok(count),
            _ => Err(Error::Length { op: "whole items", expected: found.next_multiple_of(dimension.max(1)), found }),
        }
    }

    /// A reward of data as one of what the model gives.
    pub fn reward<R>(&self, reward: R) -> InCoordinates<'_, R> {
        self.coordinates().reward(reward)
    }
}
