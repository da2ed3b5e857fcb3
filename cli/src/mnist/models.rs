//! The models of the experiment: trained, or taken from an earlier run's folder.

use super::Arguments;
use crate::Context;
use crate::digits::{self, Digits};
use crate::failure::{Failure, Place, Result};
use crate::finetune;
use crate::model::{LoadedModel, save};
use crate::output::Directory;
use mfm_core::interpolant::Linear;
use mfm_core::posterior_velocity::AsDrift;
use mfm_core::training::{Consistency, NoTeacher, Objective, TimeLaw};
use mfm_core::{Flow, Interpolant, Shape, Tensor};
use mfm_nn::train::TrainingConfig;
use mfm_nn::{ClassMixtureReward, DitConfig, GaussianConfig, LearningRate, Model, ModelConfig, ModelHeader};
use std::time::Instant;

/// A model, and how long it was trained.
#[derive(Debug)]
pub struct Trained<T: Tensor> {
    pub model: Model<T>,
    /// None for a model of an earlier run.
    pub seconds: Option<f64>,
}

/// What the models are made from.
#[derive(Debug)]
pub struct Models<'a, T: Tensor> {
    pub context: &'a Context<T>,
    pub arguments: &'a Arguments,
    pub digits: &'a Digits,
    pub out: &'a Directory,
}

impl<T: Tensor> Models<'_, T> {
    /// The flow model: the unconditional part of a Meta Flow Map alone.
    pub fn flow(&self) -> Result<Trained<T>> {
        self.take_or("flow.mfm", "diagonal loss at t = 0", self.arguments.flow_steps, || {
            let (config, mean) = self.form()?;
            let fresh = Model::new(&self.context.device, &config, &mean, &self.context.noise.fork(3)).at("--size and --patch")?;
            let objective =
                Objective { consistency: Consistency::None, times: TimeLaw { at_zero: 1.0, ..TimeLaw::default() }, ..Objective::default() };
            let settings = self.settings(self.arguments.flow_steps, 10);
            digits::train(
                self.context,
                "training the flow model",
                settings,
                &fresh,
                &mut digits::unlabelled(self.context, &self.digits.train),
                |input| {
                    let flow = Flow::new(input.frozen, &Linear);
                    objective.loss(&flow, input.student, None::<&NoTeacher>, input.samples.batch(), input.noise)
                },
            )
        })
    }

    /// The Meta Flow Map, distilled from the flow model through the posterior velocity; it starts from its weights.
    pub fn map(&self, teacher: &Model<T>) -> Result<Trained<T>> {
        self.take_or("map.mfm", "distillation of flow.mfm, semigroup", self.arguments.map_steps, || {
            let objective = Objective::default();
            let settings = self.settings(self.arguments.map_steps, 11);
            digits::train(
                self.context,
                "distilling the Meta Flow Map",
                settings,
                teacher,
                &mut digits::unlabelled(self.context, &self.digits.train),
                |input| {
                    let flow = Flow::new(input.frozen, &Linear);
                    objective.loss(&flow, input.student, Some(&AsDrift(teacher)), input.samples.batch(), input.noise)
                },
            )
        })
    }

    /// The map whose drift is that of the tilted law.
    pub fn fine_tuned(&self, map: &Model<T>, reward: &ClassMixtureReward<T>) -> Result<Trained<T>> {
        self.take_or("fine-tuned.mfm", "fine-tuning of map.mfm to the mixture of classes", self.arguments.fine_tuning_steps, || {
            let settings = finetune::Settings {
                training: TrainingConfig {
                    rate: LearningRate::cosine(3e-4, 50.min(self.arguments.fine_tuning_steps / 5)),
                    ..self.settings(self.arguments.fine_tuning_steps, 12)
                },
                samples: 0,
                ..finetune::Settings::default()
            };
            let data = &mut digits::unlabelled(self.context, &self.digits.train);
            Ok(finetune::fine_tune(self.context, &Flow::new(map, &Linear), reward, data, &settings)?.model)
        })
    }

    fn settings(&self, steps: u64, index: u64) -> TrainingConfig {
        TrainingConfig {
            steps,
            batch: self.arguments.batch,
            rate: LearningRate::cosine(1e-3, 200.min(steps / 5)),
            clip: Some(1.0),
            seed: self.context.derived_seed(index),
            average: Some(0.998),
            ..TrainingConfig::default()
        }
    }

    /// A transformer for the digits, preconditioned by the Gaussian of their mean and deviation, and the mean.
    fn form(&self) -> Result<(ModelConfig, Vec<f64>)> {
        let data = &self.digits.train;
        let network = DitConfig::custom(self.arguments.size.0, 1, self.digits.side, self.arguments.patch);
        network.check().at("--size and --patch")?;
        let (gaussian, mean) = GaussianConfig::of_data(&data.rows, data.dimension);
        gaussian.check().at(&data.source)?;
        Ok((ModelConfig::dit(network).preconditioned(gaussian), mean))
    }

    /// The model of an earlier run if there is one to reuse, else a new one, which is saved.
    fn take_or(&self, name: &str, objective: &str, steps: u64, train: impl FnOnce() -> Result<Model<T>>) -> Result<Trained<T>> {
        let path = self.out.file(name);
        let (config, _) = self.form()?;
        if self.arguments.reuse && path.exists() {
            let loaded = LoadedModel::<T>::load(&path, &self.context.device)?;
            if loaded.header.model != config || loaded.header.interpolant != Linear.name() {
                return Err(Failure::input(format!(
                    "--reuse: {} is of another form than --size, --patch and the data describe",
                    loaded.source
                )));
            }
            return Ok(Trained { model: loaded.model, seconds: None });
        }
        let start = Instant::now();
        let model = train()?;
        let seconds = start.elapsed().as_secs_f64();
        let mut header = ModelHeader::new(config, Linear.name(), Shape::new(&[self.digits.pixels()])?);
        header.provenance.steps = steps;
        header.provenance.seed = self.context.seed;
        header.provenance.data = format!("{} samples of {}", self.digits.train.len(), self.digits.train.source);
        header.provenance.objective = format!("{objective}, batch {}", self.arguments.batch);
        header.provenance.library = concat!("mfm ", env!("CARGO_PKG_VERSION")).into();
        save(&path, &model, &header)?;
        Ok(Trained { model, seconds: Some(seconds) })
    }
}
