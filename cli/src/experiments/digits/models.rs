//! The classifiers of experiments on digits, and the batches of their maps.

use super::Digits;
use super::data::{Augmentation, batch};
use crate::data::Dataset;
use crate::training::train;
use crate::{Context, Result};
use mfm_core::autodiff::Var;
use mfm_core::{Noise, Tensor};
use mfm_nn::schedule::LearningRate;
use mfm_nn::train::{DataSource, Samples, TrainingConfig};
use mfm_nn::{ClassMixtureReward, Classifier, ClassifierConfig};

/// Noise on the digits that a classifier is trained on: it must also judge digits that are not quite real.
const CLASSIFIER_NOISE: f64 = 0.25;

/// The reward, and a judge that shares neither data nor noise with it.
#[derive(Debug)]
pub struct Experts<T: Tensor> {
    pub reward: ClassMixtureReward<T>,
    pub judge: Classifier<T>,
    /// The share of the held-out digits that the reward's classifier tells right.
    pub reward_accuracy: f64,
    /// That of the judge.
    pub judge_accuracy: f64,
    /// The share of each class in the data.
    shares: [f64; 10],
}

/// How classifiers are trained.
#[derive(Clone, Copy, Debug)]
pub struct Schooling {
    /// The widths of the hidden layers of the reward's classifier and of the judge.
    pub widths: [usize; 2],
    /// Training steps.
    pub steps: u64,
    /// Whether the digits that they see are distorted a little; those of few pixels have no room for it.
    pub distorted: bool,
}

impl<T: Tensor> Experts<T> {
    /// Both classifiers, each of one half of the training digits.
    pub fn train(context: &Context<T>, digits: &Digits, schooling: &Schooling) -> Result<Self> {
        let halves = digits.halves();
        let classifier = classifier(context, "training the reward's classifier", &halves[0], schooling, 0)?;
        let judge = self::classifier(context, "training the judge", &halves[1], schooling, 1)?;
        let (reward_accuracy, judge_accuracy) = (digits.accuracy(context, &classifier)?, digits.accuracy(context, &judge)?);
        let weights: Vec<(usize, f64)> = super::WANTED.iter().copied().enumerate().collect();
        let labels = digits.train.labels.as_deref().unwrap_or_default();
        let shares = super::shares(labels, &vec![1.0; labels.len()]);
        Ok(Self { reward: ClassMixtureReward::new(classifier, &weights)?, judge, reward_accuracy, judge_accuracy, shares })
    }

    /// What the L2 distances of a table over `samples` samples are, for people.
    pub fn explanation(&self, samples: usize) -> String {
        format!(
            "\nL2 is between the shares of the classes among {samples} samples, told by a classifier that the reward does not use ({:.1} % right on \
             held-out digits; the reward's own {:.1} %), and w ∝ [0,1,0,1,0,2,0,2,0,4]; exact samples would come to about {:.3}.\nAn evaluation is a \
             pass through the network for one sample; a backward pass counts two.",
            100.0 * self.judge_accuracy,
            100.0 * self.reward_accuracy,
            self.l2_floor(samples)
        )
    }

    /// The L2 distance that so many exact samples would have.
    pub fn l2_floor(&self, samples: usize) -> f64 {
        super::l2_floor(samples, &self.shares)
    }
}

/// A classifier of clean digits. The two share no noise, nor any with the Meta Flow Map, whose index is 0.
fn classifier<T: Tensor>(context: &Context<T>, what: &str, data: &Dataset, schooling: &Schooling, which: usize) -> Result<Classifier<T>> {
    let Schooling { widths, steps, distorted } = *schooling;
    let index = which as u64 + 1;
    let config = ClassifierConfig { data: data.dimension, width: widths[which], depth: 2, classes: 10 };
    let fresh = Classifier::new(&context.device, &config, &context.noise.fork(index))?;
    let settings = TrainingConfig {
        steps,
        batch: 128,
        rate: LearningRate::cosine(2e-3, 100.min(steps / 5)),
        average: None,
        seed: context.derived_seed(index),
        ..TrainingConfig::default()
    };
    let trainer = train(
        context,
        what,
        settings,
        &fresh,
        &mut |_: u64, size: usize, noise: &Noise| {
            batch(data, &context.device, size, Augmentation { noise: CLASSIFIER_NOISE, distorted }, noise)
        },
        |input| input.student.cross_entropy(&Var::constant(input.samples.x1.clone()), input.samples.labels.as_deref().unwrap_or(&[])),
    )?;
    Ok(trainer.averaged()?)
}

/// Batches of digits without their labels: a map of them is class-agnostic.
pub fn unlabelled<T: Tensor>(context: &Context<T>, data: &Dataset) -> impl DataSource<T> {
    move |_: u64, size: usize, noise: &Noise| {
        Ok(Samples { labels: None, ..batch(data, &context.device, size, Augmentation::default(), noise)? })
    }
}
