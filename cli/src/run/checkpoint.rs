//! Checkpoints: a run that is killed goes on to the same weights, bit by bit.

use crate::failure::{Failure, Result};
use crate::model::read;
use crate::output;
use mfm_core::{Device, Tensor};
use mfm_nn::file::{FileError, TrainingRecord, write_model};
use mfm_nn::{Model, ModelFile, ModelHeader, Module, Trainer, TrainingConfig, TrainingState};
use std::path::{Path, PathBuf};

/// All that a run must remember.
#[derive(Clone, Debug)]
pub struct State<T> {
    /// The trainer's.
    pub trainer: TrainingState<T>,
    /// What the loss keeps between steps.
    pub memory: Vec<f64>,
}

impl<T: Tensor> State<T> {
    /// That of a run whose loss keeps nothing.
    pub fn of<M: Module<T, Over<T> = M>>(trainer: &Trainer<T, M>) -> Self {
        Self { trainer: trainer.state(), memory: Vec::new() }
    }
}

/// Where and how often a run is saved.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    every: u64,
    header: ModelHeader,
}

impl Checkpoint {
    /// Checkpoints at `path` after every `every` steps of the run that `header` and `config` describe. What killed runs left beside it is
    /// removed.
    ///
    /// # Errors
    /// If the path cannot be written.
    pub fn new(path: &Path, every: u64, header: &ModelHeader, config: TrainingConfig) -> Result<Self> {
        output::remove_remains(path);
        output::check(path)?;
        let record = TrainingRecord { step: 0, config, average: config.average.is_some(), memory: Vec::new() };
        Ok(Self { path: path.to_owned(), every, header: ModelHeader { training: Some(record), ..header.clone() } })
    }

    /// The state to go on from; `None` if there is no checkpoint yet.
    ///
    /// # Errors
    /// If the file is damaged, or belongs to another run.
    pub fn load<D: Device>(&self, device: &D) -> Result<Option<State<D::Tensor>>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let fail = |error: FileError| Failure::input(format!("{}: {error}", self.path.display()));
        let refuse = |what: &str| Failure::input(format!("cannot resume from {}: {what}", self.path.display()));
        let bytes = read(&self.path)?;
        let file = ModelFile::parse(&bytes).map_err(fail)?;
        let found = file.header();
        let Some(record) = &found.training else { return Err(refuse("it is a finished model, not a checkpoint")) };
        let own = self.header.training.as_ref().map(|record| record.config);
        if found.model != self.header.model || found.interpolant != self.header.interpolant {
            return Err(refuse("it holds another model than these options describe"));
        }
        if Some(record.config) != own || found.provenance != self.header.provenance {
            return Err(refuse("it was made with other options, another seed or other data"));
        }
        let trainer = file.to_training_state(device).map_err(fail)?;
        Ok(trainer.map(|trainer| State { trainer, memory: record.memory.clone() }))
    }

    /// Whether the run is saved after a step.
    pub fn wants(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    /// Saves the run, and the model as it would be now.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save<T: Tensor>(&self, model: &Model<T>, state: &State<T>) -> Result<()> {
        let training = self.header.training.clone().map(|record| TrainingRecord { memory: state.memory.clone(), ..record });
        let header = ModelHeader { training, ..self.header.clone() };
        let bytes = write_model(model, &header, Some(&state.trainer))
            .map_err(|error| Failure::Internal(format!("{}: {error}", self.path.display())))?;
        output::write_bytes(&self.path, &bytes)
    }

    /// Removes the file of a run that is over.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    pub fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::file("remove", &self.path, &error)),
            _ => Ok(()),
        }
    }
}
