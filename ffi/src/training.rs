//! Training on the host's data, and fine-tuning to the host's reward. Both make a new model; the session's own stays as it is.

use crate::backend::Backend;
use crate::bridge::ffi::{Progress, TrainingOptions};
use crate::failure::{self, Code, Failure, Result};
use crate::host::{Callbacks, HostReward, Wish, progress};
use crate::model::{Loaded, Model, moved};
use crate::session::Run;
use mfm_core::training::{Consistency, FineTuning, Guided, Objective, StopGradient, Velocities, WeightSlope};
use mfm_core::{Condition, Device, Flow, Noise, memory};
use mfm_nn::file::{Jumps, LIBRARY};
use mfm_nn::optimiser::OptimiserConfig;
use mfm_nn::train::{
    DataSource, FineTuner, FineTuningConfig, FineTuningReport, LossInput, Outcome, Step, losses_in_words, own_samples, random_rows,
};
use mfm_nn::{LearningRate, ModelHeader, SavedModel, Trainer, TrainingConfig};
use std::ops::ControlFlow;

/// The usual share of labels that are dropped, as `mfm.h` has it.
const LABEL_DROPOUT: f64 = 0.1;

type Network<B> = mfm_nn::Model<<B as Device>::Tensor>;

fn settings(options: &TrainingOptions, seed: u64, dimension: usize, draws: usize) -> Result<TrainingConfig> {
    let off_at_zero = |value: f64| Some(value).filter(|value| *value != 0.0);
    let config = TrainingConfig {
        steps: options.steps,
        batch: options.batch,
        rate: LearningRate::cosine(options.learning_rate, options.warm_up.min(options.steps / 2)),
        optimiser: OptimiserConfig { weight_decay: options.weight_decay, ..OptimiserConfig::default() },
        clip: off_at_zero(options.clip),
        average: off_at_zero(options.average),
        seed,
    };
    config.check()?;
    // Lists of a batch's length are made that cannot fail politely; none is longer than this one.
    let numbers = options.batch.saturating_mul(dimension.max(2)).saturating_mul(draws);
    memory::room::<f64>("a batch", numbers)?;
    Ok(config)
}

/// The seed of fine-tuning, as the command `mfm finetune` has it: not the host's itself, whose forks are the steps of the run that made the model.
fn derived(seed: u64) -> u64 {
    Noise::new(seed).fork(0).short_seed()
}

/// Checks that the run reads every option that is not as it is by default.
fn are_of_use(options: &TrainingOptions, is_tuning: bool, has_labels: bool) -> Result<()> {
    let run = if is_tuning { "fine-tuning" } else { "training" };
    let all = [
        ("consistency", options.consistency != 0, !is_tuning),
        ("strength", options.strength != 1.0, is_tuning),
        ("draws", options.draws != 0, is_tuning),
        ("follow", options.follow != 0.0, is_tuning),
    ];
    failure::refuse_unread(&all, run)?;
    let run = if is_tuning { run } else { "training without labels" };
    failure::refuse_unread(&[("label_dropout", options.label_dropout != LABEL_DROPOUT, !is_tuning && has_labels)], run)
}

fn consistency(number: u32) -> Result<Consistency> {
    match number {
        0 => Ok(Consistency::Semigroup),
        1 => Ok(Consistency::MeanFlow),
        2 => Ok(Consistency::Eulerian),
        3 => Ok(Consistency::Lagrangian(StopGradient::default())),
        4 => Ok(Consistency::None),
        _ => Err(Failure::new(Code::Range, format!("there is no consistency loss {number}"))),
    }
}

/// Tells the host of a step, whose loss must be finite.
fn watch<T: mfm_core::Tensor>(callbacks: &Callbacks<'_>, step: &Step<T>, more: Progress) -> Result<Wish> {
    let loss = step.loss_value()?;
    if !loss.is_finite() {
        let what = format!("step {}: the loss is {loss}; try a lower learning rate, or data of usual size", step.step);
        return Err(Failure::new(Code::NotFinite, what));
    }
    Ok(callbacks.step_of_run(&Progress {
        step: step.step as usize,
        steps: step.steps as usize,
        loss,
        gradient_norm: step.gradient_norm,
        ..more
    })?)
}

/// What broke a run from a callback: a failure, or none if the host wants to keep what there is.
#[derive(Default)]
struct Stop(Option<Failure>);

impl Stop {
    fn flow(&mut self, outcome: Result<Wish>) -> ControlFlow<()> {
        match outcome {
            Ok(Wish::GoOn) => ControlFlow::Continue(()),
            Ok(Wish::Stop) => ControlFlow::Break(()),
            Err(failure) => {
                self.0 = Some(failure);
                ControlFlow::Break(())
            }
        }
    }
}

/// What the file of the new model will say, but for its steps; `seed` is the one that the host gave.
fn header<B: Backend>(run: &Run<B>, seed: u64, objective: String, data: String) -> ModelHeader {
    let mut header = run.loaded.header.clone();
    header.provenance.seed = seed;
    header.provenance.objective = objective;
    header.provenance.data = data;
    header.provenance.library = LIBRARY.into();
    header
}

/// The new model, back on the device of the old one.
fn finish<B: Backend>(
    run: &Run<B>,
    trainer: &Trainer<B::Tensor, Network<B>>,
    outcome: Result<Outcome>,
    stop: Stop,
    mut header: ModelHeader,
) -> Result<Box<Model>> {
    // A break in the very last step leaves the run finished, and is a failure all the same.
    if let Some(failure) = stop.0 {
        return Err(failure);
    }
    outcome?;
    header.provenance.steps = header.provenance.steps.saturating_add(trainer.steps_made());
    let network = moved(&trainer.averaged_precisely()?, &run.loaded.backend)?;
    Ok(Loaded::new(run.loaded.backend.clone(), SavedModel::new(network, header)?)?.handle())
}

/// A model trained on data of the host's.
///
/// # Errors
/// See `mfm_train`.
pub fn train<B: Backend>(
    run: &Run<B>,
    callbacks: &Callbacks<'_>,
    data: &[f32],
    labels: &[usize],
    options: &TrainingOptions,
) -> Result<Box<Model>> {
    let rows = run.items(data, "the data")?;
    let count = mfm_core::Tensor::shape(&rows).batch();
    let known = run.loaded.header.labels();
    let labels = Some(labels).filter(|labels| !labels.is_empty());
    if let Some(labels) = labels {
        if known == 0 {
            return Err(Failure::new(Code::Unsupported, "the model knows no labels; train without, or create one that does"));
        }
        if labels.len() != count {
            let found = labels.len();
            return Err(Failure::new(Code::Length, format!("there are {count} items, but {found} labels")));
        }
        run.loaded.header.check_condition(Condition::labels(labels))?;
    }
    if !(0.0..=1.0).contains(&options.label_dropout) {
        return Err(Failure::new(Code::Range, format!("the label dropout is {:?}, but must be between 0 and 1", options.label_dropout)));
    }
    are_of_use(options, false, labels.is_some())?;
    let guided = Guided { null_label: known, dropout: options.label_dropout, scale: 1.0, plain: None };
    let consistency = consistency(options.consistency)?;
    let objective = Objective { consistency, guided: labels.map(|_| guided), ..Objective::default() };
    let mut trainer = Trainer::new(settings(options, options.seed, run.dimension(), 1)?, &moved(&run.loaded.model, &run.device)?)?;
    callbacks.say(format_args!("training on {count} items, {} steps of {}", options.steps, options.batch));
    let mut stop = Stop::default();
    let outcome = trainer.run(
        &mut |_, size, noise: &Noise| random_rows(&rows, labels, size, noise),
        |input: LossInput<'_, B::Tensor, Network<B>>| {
            let flow = Flow::new(input.frozen, run.loaded.path);
            objective.loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
        },
        |_, step| stop.flow(watch(callbacks, step, progress(0, 0))),
    );
    let meaning = if consistency == Consistency::None { ": a flow model, whose jumps mean nothing" } else { "" };
    let words = format!("{} from data{meaning}", losses_in_words(consistency));
    let mut header = header(run, options.seed, words, format!("{count} items of the host's"));
    header.guided_by = None;
    header.jumps = Jumps::trained_by(consistency);
    finish(run, &trainer, outcome.map_err(Failure::from), stop, header)
}

/// A copy of the model tuned to the host's reward.
///
/// # Errors
/// See `mfm_fine_tune`.
pub fn fine_tune<B: Backend>(run: &Run<B>, callbacks: &Callbacks<'_>, data: &[f32], options: &TrainingOptions) -> Result<Box<Model>> {
    if !(options.strength > 0.0 && options.strength.is_finite()) {
        return Err(Failure::new(Code::Range, format!("the strength is {:?}, but must be positive and finite", options.strength)));
    }
    are_of_use(options, true, false)?;
    let rows = if data.is_empty() { None } else { Some(run.items(data, "the data")?) };
    let base = moved(&run.loaded.model, &run.device)?;
    let flow = Flow::new(&base, run.loaded.path);
    let reward = HostReward::new(callbacks, &run.device);
    let of_samples = run.loaded.coordinates().reward(&reward);
    let (slope, usual) = if callbacks.has_gradient() { (WeightSlope::Pathwise, 1) } else { (WeightSlope::Covariance, 4) };
    let draws = if options.draws == 0 { usual } else { options.draws };
    let objective = FineTuning { strength: options.strength, slope, draws, ..FineTuning::default() };
    let config = FineTuningConfig { objective, follow: options.follow, ..FineTuningConfig::default() };
    let tuner = FineTuner::new(config, flow, &of_samples)?;
    let mut own = own_samples(flow, &run.device);
    let mut trainer = Trainer::new(settings(options, derived(options.seed), run.dimension(), draws)?, &base)?;
    run.warn_of_jumps(callbacks, None);
    callbacks.say(format_args!("fine-tuning, {} steps of {}", options.steps, options.batch));
    let mut stop = Stop::default();
    let outcome = trainer.run(
        &mut |step, size, noise: &Noise| match &rows {
            Some(rows) => random_rows(rows, None, size, noise),
            None => own.batch(step, size, noise),
        },
        |input| tuner.loss(input),
        |_, step| {
            let FineTuningReport { mean_reward, effective_sample_size } = tuner.report();
            stop.flow(watch(callbacks, step, Progress { mean_reward, effective_sample_size, ..progress(0, 0) }))
        },
    );
    if stop.0.is_none() && outcome.is_ok() && reward.take_allowed() == Some(false) {
        return Err(Failure::new(Code::NotFinite, "the reward is -infinity for every draw of the run, so there is nothing to tune to"));
    }
    let data =
        rows.map_or_else(|| "its own samples".into(), |rows| format!("{} items of the host's", mfm_core::Tensor::shape(&rows).batch()));
    let follows = if options.follow > 0.0 { format!(", the rest of the map following by {}", options.follow) } else { String::new() };
    let objective = format!("the drift of a model of the host's fine-tuned to a reward of the host's{follows}");
    let mut header = header(run, options.seed, objective, data);
    header.jumps = Jumps::following(options.follow);
    finish(run, &trainer, outcome.map_err(Failure::from), stop, header)
}
