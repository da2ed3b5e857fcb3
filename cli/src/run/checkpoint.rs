//! Checkpoints: a run that is killed goes on to the same weights, bit by bit.

use crate::failure::{Failure, Place as _, Result};
use crate::output;
use mfm_core::{Device, Tensor};
use mfm_nn::file::{Provenance, TrainingRecord, load, write_model};
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

/// Whether two models were trained in the same way on the same data, by whatever version of the library.
fn is_same_training(a: &Provenance, b: &Provenance) -> bool {
    Provenance { library: String::new(), ..a.clone() } == Provenance { library: String::new(), ..b.clone() }
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
        let refuse = |what: &str| Failure::input(format!("cannot resume from {}: {what}", self.path.display()));
        let bytes = load(&self.path)?;
        let file = ModelFile::parse(&bytes).at(self.path.display())?;
        let found = file.header();
        let Some(record) = &found.training else { return Err(refuse("it is a finished model, not a checkpoint")) };
        let own = self.header.training.as_ref().map(|record| record.config);
        if found.model != self.header.model {
            return Err(refuse("it holds another model than these options describe"));
        }
        if found.coordinates != self.header.coordinates {
            return Err(refuse("it works in other coordinates than these options and data give"));
        }
        let (own_version, other_version) = (&self.header.provenance.library, &found.provenance.library);
        if Some(record.config) != own || !is_same_training(&found.provenance, &self.header.provenance) {
            return Err(refuse("it was made with other options, another seed or other data"));
        }
        if other_version != own_version {
            let versions = format!("it was made by {other_version}, and this is {own_version}, which might end in other weights");
            return Err(refuse(&versions));
        }
        let trainer = file.to_training_state(device).at(self.path.display())?;
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
        output::remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mfm_core::{Noise, Shape};
    use mfm_cpu_ref::{CpuDevice, CpuTensor};
    use mfm_nn::{MlpConfig, ModelConfig};

    #[test]
    fn another_version_is_told_from_other_options() {
        let (folder, device) = (tempfile::tempdir().unwrap(), CpuDevice::<f32>::new());
        let form = ModelConfig::mlp(MlpConfig { width: 4, depth: 1, ..MlpConfig::new(2) });
        let model = Model::<CpuTensor<f32>>::new(&device, &form, &[0.0; 2], &Noise::new(1)).unwrap();
        let config = TrainingConfig::default();
        let checkpoint = |library: &str, seed: u64| {
            let mut header = ModelHeader::new(form.clone(), Shape::new(&[2]).unwrap());
            (header.provenance.library, header.provenance.seed) = (library.into(), seed);
            Checkpoint::new(&folder.path().join("run.mfm"), 1, &header, config).unwrap()
        };
        let state = State::of(&Trainer::new(config, &model).unwrap());
        checkpoint("mfm 1.2.3", 5).save(&model, &state).unwrap();
        let load = |library, seed| checkpoint(library, seed).load(&device).map(|state| state.is_some());
        assert_eq!(load("mfm 1.2.3", 5), Ok(true));
        let complaint = |library, seed| load(library, seed).unwrap_err().to_string();
        let versions = complaint("mfm 1.3.0", 5);
        assert!(versions.contains("made by mfm 1.2.3, and this is mfm 1.3.0") && !versions.contains("seed"), "{versions}");
        assert!(complaint("mfm 1.3.0", 6).contains("another seed"));
    }
}
