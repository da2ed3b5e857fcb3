//! The models of the experiment: trained, or taken from an earlier run's folder.

use super::Arguments;
use crate::Context;
use crate::commands::train::LogRow;
use crate::experiments::digits::{self, Digits};
use crate::failure::{Failure, Place, Result};
use crate::model::{LoadedModel, save};
use crate::output::Directory;
use crate::run::{Checkpoint, State, Watch};
use crate::training::fine_tuning::{self, Kept};
use mfm_core::drift::AsDrift;
use mfm_core::interpolant::Linear;
use mfm_core::training::{Consistency, FineTuning, FlowTimes, Objective, TimeLaw, Velocities, WeightSlope};
use mfm_core::{Flow, Shape, Tensor};
use mfm_nn::file::{Jumps, LIBRARY, Provenance};
use mfm_nn::train::{FineTuningConfig, TrainingConfig};
use mfm_nn::{ClassMixtureReward, DitConfig, GaussianConfig, LearningRate, Model, ModelConfig, ModelHeader, Trainer};
use std::time::Instant;

/// Velocities are learned mostly in the middle of the way, by which samples come nearer to digits in the same number of steps.
const TIMES: TimeLaw = TimeLaw { power: 2.0, at_zero: 0.1, span: 1.0, flow: FlowTimes::LogitNormal { mean: 0.0, deviation: 1.0 } };

/// A model, and how long it was trained.
#[derive(Debug)]
pub struct Trained<T: Tensor> {
    pub model: Model<T>,
    /// None for a model of an earlier run, or one that it began.
    pub seconds: Option<f64>,
}

/// What the models are made from.
#[derive(Debug)]
pub struct Models<'a, T: Tensor> {
    pub context: &'a Context<T>,
    pub arguments: &'a Arguments,
    pub digits: &'a Digits,
    pub out: &'a Directory,
    /// Training steps between two checkpoints.
    pub checkpoint_every: u64,
}

/// How one of them is made.
#[derive(Clone, Debug)]
struct Stage {
    /// Its file.
    name: &'static str,
    objective: &'static str,
    jumps: Jumps,
    settings: TrainingConfig,
}

impl Stage {
    /// Where the model stands while it is trained.
    fn unfinished(&self) -> String {
        format!("{}.checkpoint", self.name)
    }
}

impl<T: Tensor> Models<'_, T> {
    /// Checks what can be before anything is trained. A run that takes nothing of an earlier one leaves nothing of it to be taken later.
    pub fn begin(&self) -> Result<()> {
        self.form()?;
        for stage in [self.flow_stage(), self.map_stage(), self.fine_tuning_stage()] {
            if self.arguments.reuse {
                self.earlier(&stage)?;
            } else {
                self.out.remove(stage.name)?;
                self.out.remove(&stage.unfinished())?;
            }
        }
        Ok(())
    }

    fn flow_stage(&self) -> Stage {
        let settings = self.settings(self.arguments.flow_steps, self.arguments.batch, 2e-3, 10);
        Stage { name: "flow.mfm", objective: "diagonal loss at t = 0", jumps: Jumps::Untrained, settings }
    }

    fn map_stage(&self) -> Stage {
        let settings = self.settings(self.arguments.map_steps, self.arguments.batch, 1e-3, 11);
        Stage { name: "map.mfm", objective: "distillation of flow.mfm, semigroup", jumps: Jumps::Trained, settings }
    }

    fn fine_tuning_stage(&self) -> Stage {
        // The loss is noisier than those of training.
        let settings = self.settings(self.arguments.fine_tuning_steps, self.arguments.batch.saturating_mul(4), 1e-3, 12);
        let objective = "fine-tuning of map.mfm to the mixture of classes";
        Stage { name: "fine-tuned.mfm", objective, jumps: Jumps::LeftBehind, settings }
    }

    /// The flow model: the unconditional part of a Meta Flow Map alone.
    pub fn flow(&self) -> Result<Trained<T>> {
        let stage = self.flow_stage();
        self.take_or(&stage, |checkpoint| {
            let (config, mean) = self.form()?;
            let fresh = Model::new(&self.context.device, &config, &mean, &self.context.noise.fork(3)).at("--size and --patch")?;
            let objective = Objective { consistency: Consistency::None, times: TimeLaw { at_zero: 1.0, ..TIMES }, ..Objective::default() };
            self.train("training the flow model", stage.settings, &fresh, checkpoint, &objective, Velocities::Data)
        })
    }

    /// The Meta Flow Map, distilled from the flow model through the posterior velocity; it starts from its weights.
    pub fn map(&self, teacher: &Model<T>) -> Result<Trained<T>> {
        let stage = self.map_stage();
        self.take_or(&stage, |checkpoint| {
            let objective = Objective { times: TIMES, ..Objective::default() };
            self.train(
                "distilling the Meta Flow Map",
                stage.settings,
                teacher,
                checkpoint,
                &objective,
                Velocities::Teacher(&AsDrift(teacher)),
            )
        })
    }

    /// The map whose drift is that of the tilted law.
    pub fn fine_tuned(&self, map: &Model<T>, reward: &ClassMixtureReward<T>) -> Result<Trained<T>> {
        let stage = self.fine_tuning_stage();
        self.take_or(&stage, |checkpoint| {
            let kept = Kept { checkpoint: checkpoint.clone(), resume: self.arguments.reuse, log: None };
            // The reward hardly varies within a class, so its gradient would seldom speak.
            let objective = FineTuning { slope: WeightSlope::Covariance, draws: 4, ..FineTuning::default() };
            let tuning = FineTuningConfig { objective, ..FineTuningConfig::default() };
            let settings = fine_tuning::Settings { training: stage.settings, tuning, samples: 0 };
            let data = &mut digits::unlabelled(self.context, &self.digits.train);
            Ok(fine_tuning::fine_tune(self.context, &Flow::new(map, &Linear), reward, data, &settings, Some(&kept))?.model)
        })
    }

    /// Trains a model, from the checkpoint if there is one to go on from.
    fn train(
        &self,
        what: &str,
        settings: TrainingConfig,
        fresh: &Model<T>,
        checkpoint: &Checkpoint,
        objective: &Objective,
        velocities: Velocities<'_, T>,
    ) -> Result<Model<T>> {
        let state = if self.arguments.reuse { checkpoint.load(&self.context.device)? } else { None };
        let mut trainer = match state {
            Some(state) => Trainer::resume(settings, fresh, state.trainer)?,
            None => Trainer::new(settings, fresh)?,
        };
        let mut watch = Watch::new(self.context, what, Some(checkpoint), None, trainer.steps_made(), settings.steps);
        let outcome = trainer.run(
            &mut digits::unlabelled(self.context, &self.digits.train),
            |input| objective.loss(&Flow::new(input.frozen, &Linear), input.student, velocities, input.samples.batch(), input.noise),
            |trainer, step| {
                let save = |checkpoint: &Checkpoint| checkpoint.save(&trainer.averaged_precisely()?, &State::of(trainer));
                watch.look(step, false, |_, seconds| LogRow::of(step, seconds), save)
            },
        );
        if let Some(failure) = watch.broken {
            return Err(failure);
        }
        outcome.at(what)?;
        Ok(trainer.averaged_precisely()?)
    }

    fn settings(&self, steps: u64, batch: usize, rate: f64, index: u64) -> TrainingConfig {
        TrainingConfig {
            steps,
            batch,
            rate: LearningRate::cosine(rate, 200.min(steps / 5)),
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
        let (gaussian, mean) = GaussianConfig::of_data(&data.rows, data.dimension)?;
        gaussian.check().at(&data.source)?;
        Ok((ModelConfig::dit(network).preconditioned(gaussian), mean))
    }

    /// What the file of a model that is made now says about it.
    fn header(&self, stage: &Stage) -> Result<ModelHeader> {
        let mut header = ModelHeader::new(self.form()?.0, Shape::new(&[self.digits.pixels()])?);
        header.provenance.steps = stage.settings.steps;
        header.provenance.seed = self.context.seed;
        header.provenance.data = format!("{} samples of {}", self.digits.train.len(), self.digits.train.source);
        header.provenance.objective = format!("{}, batch {}", stage.objective, stage.settings.batch);
        header.provenance.library = LIBRARY.into();
        header.jumps = stage.jumps;
        Ok(header)
    }

    /// The finished model of an earlier run, if there is one to reuse.
    ///
    /// # Errors
    /// If it cannot be read, or is not the one that these options describe: what is reported would be of others.
    fn earlier(&self, stage: &Stage) -> Result<Option<Model<T>>> {
        let path = self.out.file(stage.name);
        if !self.arguments.reuse || !path.exists() || self.out.file(&stage.unfinished()).exists() {
            return Ok(None);
        }
        let loaded = LoadedModel::<T>::load(&path, &self.context.device)?;
        let own = self.header(stage)?;
        if loaded.header.model != own.model {
            return Err(Failure::input(format!(
                "--reuse: {} is of another form than --size, --patch and the data describe",
                loaded.source
            )));
        }
        if let Some((found, wanted)) = difference(&loaded.header.provenance, &own.provenance) {
            let sentence = format!(
                "--reuse: {} was made with {found}, but these options ask for {wanted}; give those of the earlier run, or leave out --reuse to begin anew",
                loaded.source
            );
            return Err(Failure::input(sentence));
        }
        Ok(Some(loaded.saved.model))
    }

    /// The model of an earlier run if there is one to reuse, else a new one, which is saved, with a checkpoint beside it until it is.
    fn take_or(&self, stage: &Stage, train: impl FnOnce(&Checkpoint) -> Result<Model<T>>) -> Result<Trained<T>> {
        if let Some(model) = self.earlier(stage)? {
            return Ok(Trained { model, seconds: None });
        }
        let (path, unfinished) = (self.out.file(stage.name), self.out.file(&stage.unfinished()));
        let header = self.header(stage)?;
        let is_whole = !(self.arguments.reuse && unfinished.exists());
        let checkpoint = Checkpoint::new(&unfinished, self.checkpoint_every, &header, stage.settings)?;
        let start = Instant::now();
        let model = train(&checkpoint)?;
        let seconds = is_whole.then(|| start.elapsed().as_secs_f64());
        save(&path, &model, &header)?;
        checkpoint.remove()?;
        // As it is in the file, whose tensors lie otherwise in memory: a later run that takes it from there gets the same results, bit by bit.
        Ok(Trained { model: LoadedModel::load(&path, &self.context.device)?.saved.model, seconds })
    }
}

/// The first thing in which one training differs from another, as both say it; the library's version is none.
fn difference(one: &Provenance, other: &Provenance) -> Option<(String, String)> {
    let words = |of: &Provenance| [format!("{} steps", of.steps), format!("the seed {}", of.seed), of.data.clone(), of.objective.clone()];
    words(one).into_iter().zip(words(other)).find(|(one, other)| one != other)
}
