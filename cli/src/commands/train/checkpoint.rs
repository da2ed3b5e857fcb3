//! Checkpoints: a run that is killed goes on to the same weights, bit by bit.

use super::Subject;
use crate::failure::{Failure, Result};
use crate::model::read;
use crate::output;
use mfm_core::{Device, Tensor};
use mfm_nn::file::{FileError, TrainingRecord, write_model};
use mfm_nn::{ModelFile, ModelHeader, Trainer, TrainingConfig, TrainingState};
use std::path::{Path, PathBuf};

/// Where and how often a run is saved.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
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
        let record = TrainingRecord { step: 0, config, average: config.average.is_some() };
        Ok(Self { path: path.to_owned(), every, header: ModelHeader { training: Some(record), ..header.clone() } })
    }

    /// The state to go on from; `None` if there is no checkpoint yet.
    ///
    /// # Errors
    /// If the file is damaged, or belongs to another run.
    pub fn load<D: Device>(&self, device: &D) -> Result<Option<TrainingState<D::Tensor>>> {
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
        file.to_training_state(device).map_err(fail)
    }

    /// Whether the run is saved after a step.
    pub fn wants(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    /// Saves the run.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save<T: Tensor>(&self, trainer: &Trainer<T, Subject<T>>) -> Result<()> {
        let bytes = write_model(&trainer.averaged()?.map, &self.header, Some(&trainer.state()))
            .map_err(|error| Failure::Internal(format!("{}: {error}", self.path.display())))?;
        output::write_bytes(&self.path, &bytes)
    }
}
