//! `mfm finetune`: a model whose own samples are aimed at a reward.

mod arguments;

pub use arguments::Arguments;

use super::destination::{Destination, Groups, Samples};
use crate::context::Context;
use crate::data::{self, LabelColumn, Source, Values};
use crate::failure::{Failure, Place, Result};
use crate::model::{LoadedModel, save, shape};
use crate::reward::AnyReward;
use crate::run::{Checkpoint, RunFolder};
use crate::table::{Table, count, number};
use crate::training::fine_tuning::{FineTuned, Kept, Row, fine_tune, sample};
use mfm_core::{Device, Flow, Noise, Reward, Tensor};
use mfm_nn::file::{Jumps, LIBRARY, Provenance};
use mfm_nn::train::{DataSource, own_samples};
use mfm_nn::{Model, ModelHeader, Module};
use serde::Serialize;
use std::time::Instant;

/// The share of a step's posterior draws, beside the one that always counts, below which their weights have collapsed.
const COLLAPSED: f64 = 0.01;

#[derive(Debug, Serialize)]
struct Report<'a> {
    model: String,
    base: &'a str,
    reward: &'a str,
    steps: u64,
    mean_reward_before: f64,
    mean_reward_after: f64,
    /// ≈ log E exp(λ r) over the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_mean_weight: Option<f64>,
    /// Of the weights of a step's posterior draws, the mean over the steps below.
    effective_sample_size: f64,
    /// The posterior draws of a step.
    draws: usize,
    losses: &'a [Row],
    seconds: f64,
}

impl Report<'_> {
    /// Shows it as a table, with a warning where the weights have collapsed.
    fn show<T: Tensor>(&self, context: &Context<T>) -> Result<()> {
        let &Self { effective_sample_size, draws, steps, seconds, .. } = self;
        let counted = format!("{} of {}", number(effective_sample_size, 3), count(draws));
        if draws > 1 && effective_sample_size - 1.0 < COLLAPSED * (draws - 1) as f64 {
            context.say(format!(
                "warning: the weights have collapsed: {counted} posterior draws counted in a step, so what was learned is mostly noise; lower --strength, or \
                 raise --batch or --draws"
            ));
        }
        let mut table = Table::new(["model", "steps", "reward before", "reward after", "effective sample size", "seconds"]);
        let (old, new) = (number(self.mean_reward_before, 4), number(self.mean_reward_after, 4));
        table.row([self.model.clone(), count(steps as usize), old, new, counted, number(seconds, 3)]);
        context.table(&table)?;
        context.results(self)
    }
}

/// Runs `mfm finetune`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let (Some(base), Some(wanted)) = (&arguments.model, &arguments.reward) else {
        return Err(Failure::input(
            "<MODEL> and --reward: there is no run yet to go on with, so it must be told what to fine-tune, and to what",
        ));
    };
    if arguments.data.is_none() && arguments.label_column != LabelColumn::None {
        return Err(Failure::input("--label-column: it is a column of --data, which is not given"));
    }
    let (folder, out) = RunFolder::place(arguments.run.as_deref(), arguments.out.as_deref(), arguments.resume)?;
    let model = LoadedModel::<T>::load(base, &context.device)?;
    let dimension = model.dimension();
    let picture = arguments.picture.as_deref().map(|path| Destination::picture(path, dimension)).transpose()?;
    let flow = model.flow(&arguments.condition)?;
    let data = arguments.data.as_ref().map(|path| data::open(path, arguments.label_column)).transpose()?;
    if let Some(data) = &data {
        check(arguments, &model, data)?;
    }
    let data = data.map(|data| data.entering(model.coordinates())).transpose()?;
    let of_data = AnyReward::new(context, wanted, dimension)?;
    let reward = model.reward(&of_data)?;
    model.warn_of_jumps(context, None);
    let noise = context.device.normal(&context.noise.fork(1), shape(arguments.samples, dimension)?)?;
    let before = Drawn::new(&model, &flow, &reward, &noise)?;
    context.say(format!("before: mean reward {}", number(before.mean_reward, 4)));

    let header = header(context, arguments, &model, wanted, data.as_ref());
    // What is refused leaves no folder.
    let settings = arguments.settings(context);
    settings.training.check()?;
    settings.tuning.check().at(&model.source)?;
    let kept = match &folder {
        Some(folder) => {
            folder.create(&arguments.options)?;
            let checkpoint = Checkpoint::new(&folder.checkpoint(), arguments.checkpoint_every, &header, settings.training)?;
            Some(Kept { checkpoint, resume: arguments.resume, log: Some((folder.log(), arguments.log_every)) })
        }
        None => None,
    };
    let start = Instant::now();
    let tuned = train(context, arguments, &model, &flow, &reward, data.as_ref(), kept.as_ref()).at(&model.source)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = Drawn::new(&model, &Flow { map: &tuned.model.to_working()?, ..flow }, &reward, &noise)?;
    save(&out, &tuned.model, &header)?;

    if let Some(picture) = picture {
        let title = format!("Mean reward {} before, {} after", number(before.mean_reward, 3), number(after.mean_reward, 3));
        let mut rows = before.rows;
        rows.extend(after.rows);
        picture.write(context, &Samples { title: &title, rows: &rows, dimension, groups: Groups::Named(&["before", "after"]) })?;
    }
    let report = Report {
        model: out.display().to_string(),
        base: &model.source,
        reward: wanted,
        steps: arguments.steps,
        mean_reward_before: before.mean_reward,
        mean_reward_after: after.mean_reward,
        log_mean_weight: tuned.log_mean,
        effective_sample_size: tuned.rows.iter().map(|row| row.effective_sample_size).sum::<f64>() / tuned.rows.len().max(1) as f64,
        draws: settings.training.batch.saturating_mul(settings.tuning.objective.draws),
        losses: &tuned.rows,
        seconds,
    };
    report.show(context)
}

/// What the file of the tuned model says about it.
fn header<T: Tensor>(
    context: &Context<T>,
    arguments: &Arguments,
    model: &LoadedModel<T>,
    reward: &str,
    data: Option<&Source>,
) -> ModelHeader {
    let mut header = model.header.clone();
    header.jumps = Jumps::following(arguments.follow);
    header.provenance = Provenance {
        steps: header.steps_made() + arguments.steps,
        seed: context.seed,
        data: data.map_or_else(|| "its own samples".into(), |data| data.name().to_owned()),
        objective: arguments.describe(&model.source, reward),
        library: LIBRARY.into(),
    };
    header
}

/// Samples by the ODE, with their mean reward.
struct Drawn {
    rows: Values,
    mean_reward: f64,
}

impl Drawn {
    fn new<T: Tensor>(model: &LoadedModel<T>, flow: &Flow<'_, Model<T>>, reward: &impl Reward<T>, noise: &T) -> Result<Self> {
        let samples = sample(flow, noise).at(&model.source)?;
        let rows = model.numbers(&samples)?;
        let rewards = reward.value(&samples).at(&model.source)?.to_vec::<f64>()?;
        Ok(Self { rows, mean_reward: rewards.iter().sum::<f64>() / rewards.len() as f64 })
    }
}

/// Checks that a model can be fine-tuned on these data.
fn check<T: Tensor>(arguments: &Arguments, model: &LoadedModel<T>, data: &Source) -> Result<()> {
    if data.dimension() != model.dimension() {
        let (found, wanted) = (data.dimension(), model.dimension());
        return Err(Failure::input(format!("{}: each sample has {found} numbers, but {} takes {wanted}", data.name(), model.source)));
    }
    let (known, found) = (model.header.labels(), data.label_count());
    if known == 0 && arguments.label_column != LabelColumn::None {
        return Err(Failure::input(format!("--label-column: {} knows no labels", model.source)));
    }
    if known > 0 && found > known {
        return Err(Failure::input(format!("{} has the label {}, but {} knows {known}", data.name(), found - 1, model.source)));
    }
    Ok(())
}

/// Fine-tunes on the data, or on the model's own samples.
fn train<T: Tensor>(
    context: &Context<T>,
    arguments: &Arguments,
    model: &LoadedModel<T>,
    flow: &Flow<'_, Model<T>>,
    reward: &impl Reward<T>,
    data: Option<&Source>,
    kept: Option<&Kept>,
) -> Result<FineTuned<T>> {
    let settings = arguments.settings(context);
    let Some(data) = data else {
        let mut own = own_samples(*flow, &context.device);
        return fine_tune(context, flow, reward, &mut own, &settings, kept);
    };
    let mut feed = data.feed::<T>(&context.device, model.header.labels() > 0, settings.training.seed, settings.training.batch)?;
    let mut labelled = |step: u64, size: usize, noise: &Noise| {
        let samples = feed.batch(step, size, noise)?;
        let labels = samples.labels.or_else(|| arguments.condition.label.map(|label| vec![label; size]));
        Ok(mfm_nn::train::Samples { labels, ..samples })
    };
    let outcome = fine_tune(context, flow, reward, &mut labelled, &settings, kept);
    match feed.broken {
        Some(failure) => Err(failure),
        None => outcome,
    }
}
