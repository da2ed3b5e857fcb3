//! Rewards: closed forms, and mixtures of classes.

mod formula;
mod specification;

pub use formula::Formula;
pub use specification::{HELP, Specification};

use crate::classifier;
use crate::context::Context;
use crate::data;
use crate::failure::{Failure, Place, Result};
use mfm_core::reward::ByDifferentiation;
use mfm_core::{Reward, Tensor};
use mfm_nn::ClassMixtureReward;

/// A reward of the command line, ready for samples.
#[derive(Clone, Debug)]
pub enum AnyReward<T: Tensor> {
    /// A closed form.
    Formula(ByDifferentiation<Formula>),
    /// A mixture of classes, by a classifier.
    Classes(Box<ClassMixtureReward<T>>),
}

impl<T: Tensor> AnyReward<T> {
    /// The reward that `text` describes, for samples of `dimension`. The classifier of a mixture of classes is trained here.
    ///
    /// # Errors
    /// One sentence naming the reward.
    pub fn new(context: &Context<T>, text: &str, dimension: usize) -> Result<Self> {
        match Specification::parse(text)? {
            Specification::Formula(formula) => {
                if formula.dimension() != dimension {
                    let found = formula.dimension();
                    return Err(Failure::input(format!("--reward {text}: it is for {found} dimensions, but the model has {dimension}")));
                }
                Ok(Self::Formula(ByDifferentiation(formula)))
            }
            Specification::Classes { data, weights } => {
                let data = match data {
                    None => data::digits()?,
                    Some(path) => data::load_labelled(&path)?,
                };
                data.expect_dimension(dimension, "the model")?;
                let classes = data.label_count();
                if weights.len() != classes {
                    let found = weights.len();
                    return Err(Failure::input(format!("--reward {text}: there are {classes} classes, but {found} weights")));
                }
                let classifier = classifier::train(context, &data, &classifier::Settings::default())?;
                let pairs: Vec<(usize, f64)> = weights.into_iter().enumerate().collect();
                Ok(Self::Classes(Box::new(ClassMixtureReward::new(classifier, &pairs).at(format!("--reward {text}"))?)))
            }
        }
    }
}

impl<T: Tensor> Reward<T> for AnyReward<T> {
    fn value(&self, x: &T) -> mfm_core::Result<T> {
        match self {
            Self::Formula(reward) => reward.value(x),
            Self::Classes(reward) => reward.value(x),
        }
    }

    fn value_and_gradient(&self, x: &T) -> mfm_core::Result<(T, T)> {
        match self {
            Self::Formula(reward) => reward.value_and_gradient(x),
            Self::Classes(reward) => reward.value_and_gradient(x),
        }
    }
}
