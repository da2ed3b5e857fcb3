//! Rewards of the command line: closed forms, inverse problems on images, and mixtures of classes. A library's user implements
//! [`Reward`] for a type of their own, or [`RewardFormula`](mfm_core::reward::RewardFormula), whose gradient follows.

mod formula;
mod inverse;
mod operator;
mod specification;

pub use formula::Formula;
pub use inverse::{Inverse, Measurement};
pub use operator::{Operator, Padding};
pub use specification::{HELP, Specification};

use crate::classifier;
use crate::context::Context;
use crate::data;
use crate::failure::{Failure, Place, Result};
use mfm_core::reward::{ByDifferentiation, Checked};
use mfm_core::{Reward, Tensor};
use mfm_nn::{ClassMixtureReward, Module};

/// The fork of the command line's noise for observations that are made here.
const OBSERVING: u64 = 0x6f62_7365;

/// A reward of the command line, ready for samples. Values that are NaN or +∞, and gradients that are not finite, are errors with the sample's index.
#[derive(Clone, Debug)]
pub enum AnyReward<T: Tensor> {
    /// A closed form.
    Formula(ByDifferentiation<Formula>),
    /// An observation, with the clean image of which it was made, if that is known.
    Observation(ByDifferentiation<Formula>, Option<Vec<f32>>),
    /// A mixture of classes, by a classifier.
    Classes(Box<ClassMixtureReward<T>>),
}

impl<T: Tensor> AnyReward<T> {
    /// The reward that `text` describes, for samples of `dimension`. The classifier of a mixture of classes is trained here.
    ///
    /// # Errors
    /// One sentence naming the reward.
    pub fn new(context: &Context<T>, text: &str, dimension: usize) -> Result<Self> {
        let place = || format!("--reward {text}");
        match Specification::parse(text)? {
            Specification::Formula(formula) => {
                if formula.dimension() != dimension {
                    let found = formula.dimension();
                    return Err(Failure::input(format!("--reward {text}: it is for {found} dimensions, but the model has {dimension}")));
                }
                Ok(Self::Formula(ByDifferentiation(formula)))
            }
            Specification::Inverse(inverse) => {
                let (formula, truth) = inverse.formula(dimension, &context.noise.fork(OBSERVING)).at(place())?;
                Ok(Self::Observation(ByDifferentiation(formula), truth))
            }
            Specification::Classes { data, weights } => {
                let classifier = match data {
                    Some(path) if path.extension().is_some_and(|extension| extension == "mfm") => {
                        let (classifier, _) = classifier::load(&path, &context.device)?;
                        let found = classifier.config().data;
                        if found != dimension {
                            let what = format!("it classifies {found} numbers, but the model has {dimension}");
                            return Err(Failure::input(format!("{}: {what}", path.display())));
                        }
                        classifier
                    }
                    data => {
                        let data = data.map_or_else(data::digits, |path| data::load_labelled(&path))?;
                        data.expect_dimension(dimension, "the model")?;
                        check_count(&place(), data.label_count(), weights.len())?;
                        classifier::train(context, &data, &classifier::Settings::default())?.to_working()?
                    }
                };
                check_count(&place(), classifier.config().classes, weights.len())?;
                let pairs: Vec<(usize, f64)> = weights.into_iter().enumerate().collect();
                Ok(Self::Classes(Box::new(ClassMixtureReward::new(classifier, &pairs).at(place())?)))
            }
        }
    }

    /// The images that samples are to be compared with, each under its name: the clean image and the observation.
    pub fn images(&self) -> Vec<(&'static str, Vec<f32>)> {
        let Self::Observation(ByDifferentiation(formula), truth) = self else { return Vec::new() };
        let truth = truth.clone().map(|image| ("truth", image));
        truth.into_iter().chain(formula.seen().map(|image| ("observed", image))).collect()
    }
}

/// Checks that there is a weight for each class.
fn check_count(place: &str, classes: usize, weights: usize) -> Result<()> {
    if classes == weights {
        return Ok(());
    }
    Err(Failure::input(format!("{place}: there are {classes} classes, but {weights} weights")))
}

impl<T: Tensor> Reward<T> for AnyReward<T> {
    fn value(&self, x: &T) -> mfm_core::Result<T> {
        match self {
            Self::Formula(reward) | Self::Observation(reward, _) => Checked(reward).value(x),
            Self::Classes(reward) => Checked(&**reward).value(x),
        }
    }

    fn value_and_gradient(&self, x: &T) -> mfm_core::Result<(T, T)> {
        match self {
            Self::Formula(reward) | Self::Observation(reward, _) => Checked(reward).value_and_gradient(x),
            Self::Classes(reward) => Checked(&**reward).value_and_gradient(x),
        }
    }
}
