//! A file that has been checked, and what can be made of it.

use super::container::parse;
use super::write::{MEAN, STATE, missing};
use super::{ClassifierHeader, FileError, Header, ModelHeader, TensorView};
use crate::classifier::Classifier;
use crate::layer::settled;
use crate::model::Model;
use crate::module::Module;
use crate::train::TrainingState;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;
use mfm_core::tensor::OptimiserState;
use mfm_core::{Device, Shape};

/// A file in memory: its header and its tensors, in place.
#[derive(Clone, Debug, PartialEq)]
pub struct Container<'a, H> {
    header: H,
    tensors: Vec<TensorView<'a>>,
    /// Where each name is in the list: a file may hold very many.
    places: BTreeMap<&'a str, usize>,
}

/// The file of a model.
pub type ModelFile<'a> = Container<'a, ModelHeader>;

/// The file of a classifier.
pub type ClassifierFile<'a> = Container<'a, ClassifierHeader>;

impl<'a, H: Header> Container<'a, H> {
    /// Reads and checks a whole file: every checksum, every length, every gap.
    ///
    /// # Errors
    /// [`FileError`], naming what is wrong and where.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FileError> {
        let (header, tensors) = parse(bytes)?;
        let places = tensors.iter().enumerate().map(|(place, tensor)| (tensor.name, place)).collect();
        Ok(Self { header, tensors, places })
    }

    /// What the file says about what it holds.
    pub fn header(&self) -> &H {
        &self.header
    }

    /// The tensors, in order.
    pub fn tensors(&self) -> &[TensorView<'a>] {
        &self.tensors
    }

    /// A tensor by its name.
    pub fn tensor(&self, name: &str) -> Option<&TensorView<'a>> {
        self.places.get(name).map(|&place| &self.tensors[place])
    }

    /// A tensor that must be there and have this shape.
    fn expect(&self, name: &str, shape: Shape) -> Result<&TensorView<'a>, FileError> {
        let tensor = self.tensor(name).ok_or_else(|| missing(name))?;
        if tensor.shape != shape {
            return Err(FileError::TensorShape { tensor: name.to_string(), expected: shape, found: tensor.shape });
        }
        Ok(tensor)
    }

    /// Checks that there is no tensor but those that are known.
    fn expect_no_other(&self, is_known: impl Fn(&str) -> bool) -> Result<(), FileError> {
        match self.tensors.iter().find(|tensor| !is_known(tensor.name)) {
            Some(tensor) => Err(FileError::Unknown { tensor: tensor.name.to_string() }),
            None => Ok(()),
        }
    }
}

impl ClassifierFile<'_> {
    /// The classifier on a device.
    ///
    /// # Errors
    /// As [`ModelFile::to_model`].
    pub fn to_classifier<D: Device>(&self, device: &D) -> Result<Classifier<D::Tensor>, FileError> {
        let mut used = BTreeSet::new();
        let classifier = Classifier::build(&self.header.classifier, &mut |name, shape| {
            let tensor = self.expect(name, shape)?;
            used.insert(tensor.name);
            settled(&tensor.to_tensor(device)?).map_err(FileError::from)
        })?;
        self.expect_no_other(|name| used.contains(name))?;
        Ok(classifier)
    }
}

impl ModelFile<'_> {
    /// The model on a device: of a checkpoint, the one to be used (with the moving average, if that is how it was written).
    ///
    /// # Errors
    /// [`FileError::Missing`], [`FileError::TensorShape`] or [`FileError::Unknown`] if the tensors are not those of the model;
    /// [`FileError::Tensor`] for a configuration out of range, or whatever the device reports. Nothing is allocated for a tensor that is not
    /// in the file.
    pub fn to_model<D: Device>(&self, device: &D) -> Result<Model<D::Tensor>, FileError> {
        let config = &self.header.model;
        let mean: Vec<f64> = match &config.preconditioning {
            Some(_) => self.expect(MEAN, Shape::new(&[config.network.data()])?)?.values().collect(),
            None => Vec::new(),
        };
        let mut used = BTreeSet::new();
        let model = Model::build(device, config, &mean, &mut |name, shape| {
            let tensor = self.expect(name, shape)?;
            used.insert(tensor.name);
            settled(&tensor.to_tensor(device)?).map_err(FileError::from)
        })?;
        self.expect_no_other(|name| {
            used.contains(name)
                || (name == MEAN && config.preconditioning.is_some())
                || (STATE.contains(&name) && self.header.training.is_some())
        })?;
        Ok(model)
    }

    /// The training state of a checkpoint on a device; `None` for a file that holds a model alone. What was in training may have parameters beside the model's
    /// ([`Weighted`](crate::Weighted)): [`Trainer::resume`](crate::Trainer::resume) knows how many.
    ///
    /// # Errors
    /// [`FileError::Missing`] or [`FileError::TensorShape`] if its tensors are not vectors of one length, or shorter than the model's parameters, and as
    /// [`to_model`](Self::to_model).
    pub fn to_training_state<D: Device>(&self, device: &D) -> Result<Option<TrainingState<D::Tensor>>, FileError> {
        let Some(record) = &self.header.training else { return Ok(None) };
        record.config.check()?;
        let least = self.to_model(device)?.parameter_count();
        let [parameters, first, second, average] = STATE;
        let length = self.tensor(parameters).ok_or_else(|| missing(parameters))?.shape.elements();
        let shape = Shape::new(&[length.max(least)])?;
        let precise = device.precise();
        let read = |name| self.expect(name, shape)?.to_tensor(&precise);
        let average = record.average.then(|| read(average)).transpose()?;
        let optimiser = OptimiserState { parameters: read(parameters)?, first: read(first)?, second: read(second)?, average };
        Ok(Some(TrainingState { step: record.step, optimiser }))
    }
}
