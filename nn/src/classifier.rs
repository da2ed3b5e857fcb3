//! A classifier of clean data, and the reward that asks for a mixture of its classes.

use crate::coordinates::Coordinates;
use crate::layer::{Linear, Source, fresh};
use crate::module::Module;
use alloc::format;
use alloc::vec::Vec;
use mfm_core::autodiff::Var;
use mfm_core::categorical::best;
use mfm_core::reward::differentiate;
use mfm_core::tensor::Activation;
use mfm_core::{Device, Error, Noise, Operations, Result, Reward, Shape, Tensor};
use serde::{Deserialize, Serialize};

/// The form of a [`Classifier`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassifierConfig {
    /// The number of numbers in one item of data, at least 1.
    pub data: usize,
    /// The width of the hidden layers, at least 1.
    pub width: usize,
    /// The number of hidden layers; 0 makes a linear classifier.
    pub depth: usize,
    /// The number of classes, at least 1.
    pub classes: usize,
}

impl ClassifierConfig {
    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        let fields = [
            ("the classifier's data dimension", self.data, 1),
            ("the classifier's width", self.width, 1),
            ("the classifier's depth", self.depth, 0),
            ("the classifier's number of classes", self.classes, 1),
        ];
        for (what, value, least) in fields {
            if value < least || value > 1 << 24 {
                return Err(Error::Range { what, value: value as f64, range: "between 1 (a depth: 0) and 16777216" });
            }
        }
        Ok(())
    }
}

/// A multi-layer perceptron with SiLU from data to the logits of its classes.
#[derive(Clone, Debug)]
pub struct Classifier<T> {
    config: ClassifierConfig,
    hidden: Vec<Linear<T>>,
    output: Linear<T>,
}

impl<T: Tensor> Classifier<T> {
    /// A fresh classifier; see [`fresh`] for the distribution.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, and whatever the device reports.
    pub fn new<D: Device<Tensor = T>>(device: &D, config: &ClassifierConfig, noise: &Noise) -> Result<Self> {
        Self::build(config, &mut fresh(device, noise, &[]))
    }

    /// A classifier of the parameters that `source` gives for their names and shapes.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, and those of `source`.
    pub fn build<E: From<Error>>(config: &ClassifierConfig, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        config.check()?;
        let mut hidden = Vec::new();
        let mut inputs = config.data;
        for i in 0..config.depth {
            hidden.push(Linear::build(&format!("hidden.{i}"), inputs, config.width, source)?);
            inputs = config.width;
        }
        let output = Linear::build("output", inputs, config.classes, source)?;
        Ok(Self { config: config.clone(), hidden, output })
    }

    /// From a classifier of z = (x − mean)/scale that of x: the first layer's W z + b is (W/scale) x + b − (W/scale) mean. Its large terms
    /// cancel, so precision is lost where |mean| is many times the scale.
    ///
    /// # Errors
    /// [`Error::Length`] for coordinates of items of another size, and whatever the device reports.
    pub fn leaving(mut self, coordinates: &Coordinates) -> Result<Self> {
        if coordinates.is_identity() {
            return Ok(self);
        }
        let first = self.hidden.first_mut().unwrap_or(&mut self.output);
        let weight = coordinates.leave_gradient(&first.weight)?;
        let mean = weight.device().from_slice(coordinates.mean(), Shape::new(&[coordinates.mean().len()])?)?;
        // No matrix product, whose factors a device may round.
        let moved = weight.mul(&mean)?.sum_items()?;
        (first.bias, first.weight) = (first.bias.sub(&moved)?, weight);
        Ok(self)
    }

    /// The classifier's form.
    pub fn config(&self) -> &ClassifierConfig {
        &self.config
    }

    /// The activations of the last hidden layer, [n, ...] → [n, width] (of the data itself in a linear classifier): what distances between sets of
    /// samples are taken in.
    ///
    /// # Errors
    /// [`Error::Shape`] if an item has another number of elements than `config.data`.
    pub fn features(&self, x: &T) -> Result<T> {
        let shape = x.shape();
        let flat = Shape::new(&[shape.batch(), self.config.data])?;
        if shape.item() != self.config.data || shape.rank() == 0 {
            return Err(Error::Shape { op: "classifier", left: shape, right: flat });
        }
        let mut h = x.reshape(flat)?;
        for layer in &self.hidden {
            h = layer.apply(&h, Activation::Silu)?;
        }
        Ok(h)
    }

    /// The logits, [n, ...] → [n, classes].
    ///
    /// # Errors
    /// As [`features`](Self::features).
    pub fn logits(&self, x: &T) -> Result<T> {
        self.output.apply(&self.features(x)?, Activation::Identity)
    }

    /// log p(y | x), [n, ...] → [n, classes].
    ///
    /// # Errors
    /// As [`features`](Self::features).
    pub fn log_probabilities(&self, x: &T) -> Result<T> {
        let logits = self.logits(x)?;
        // log Σ eᶻ = log mean eᶻ + log classes.
        let total = logits.log_mean_exp(1)?.shift(libm::log(self.config.classes as f64))?;
        logits.sub(&total)
    }

    /// The mean of −log p(label | x) over the batch, a scalar.
    ///
    /// # Errors
    /// As [`features`](Self::features); [`Error::Length`] unless there is one label for each item; [`Error::Index`] for a label that is no class;
    /// [`Error::Range`] for an empty batch, which has no mean.
    pub fn cross_entropy(&self, x: &T, labels: &[usize]) -> Result<T> {
        let n = x.shape().batch();
        if labels.len() != n {
            return Err(Error::Length { op: "cross_entropy's labels", expected: n, found: labels.len() });
        }
        let classes = self.config.classes;
        if let Some(&index) = labels.iter().find(|label| **label >= classes) {
            return Err(Error::Index { op: "cross_entropy's labels", index, length: classes });
        }
        if n == 0 {
            return Err(Error::Range { what: "the batch's size", value: 0.0, range: "at least 1" });
        }
        let places: Vec<usize> = labels.iter().enumerate().map(|(i, label)| i * classes + label).collect();
        let flat = self.log_probabilities(x)?.reshape(Shape::new(&[n * classes])?)?;
        flat.gather(0, &places)?.mean_all()?.neg()
    }

    /// The most probable class of each item, the first among equals; the last one of an item whose logits all are NaN.
    ///
    /// # Errors
    /// As [`features`](Self::features).
    pub fn classify(&self, x: &T) -> Result<Vec<usize>> {
        let logits = self.logits(x)?.to_vec::<f64>()?;
        Ok(logits.chunks_exact(self.config.classes).map(best).collect())
    }
}

impl<T: Tensor> Module<T> for Classifier<T> {
    type Over<U: Tensor> = Classifier<U>;

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        for (i, layer) in self.hidden.iter().enumerate() {
            layer.visit(&format!("hidden.{i}"), f);
        }
        self.output.visit("output", f);
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Classifier<U>> {
        let hidden = self.hidden.iter().enumerate();
        let hidden = hidden.map(|(i, layer)| layer.rebuild(&format!("hidden.{i}"), next)).collect::<Result<Vec<_>>>()?;
        Ok(Classifier { config: self.config.clone(), hidden, output: self.output.rebuild("output", next)? })
    }
}

/// exp r(x) = Σᵢ wᵢ p(yᵢ | x): samples should belong to the classes yᵢ, with shares in proportion to πᵢ wᵢ, where πᵢ are those of the model. (For shares wᵢ, give wᵢ/πᵢ.)
///
/// r is a log-sum-exp of log wᵢ + log p(yᵢ | x), so it is exact also where every p underflows. r ≤ 0, since the wᵢ sum to one.
#[derive(Clone, Debug)]
pub struct ClassMixtureReward<T> {
    classifier: Classifier<T>,
    classes: Vec<usize>,
    log_weights: Vec<f64>,
}

impl<T: Tensor> ClassMixtureReward<T> {
    /// The reward of one class for each pair (class, weight). Weights are normalised; a weight of zero leaves its class out.
    ///
    /// # Errors
    /// [`Error::Index`] for what is no class of `classifier`; [`Error::Range`] for a weight that is negative or not finite, or if none is
    /// positive.
    pub fn new(classifier: Classifier<T>, weights: &[(usize, f64)]) -> Result<Self> {
        let length = classifier.config.classes;
        for &(index, weight) in weights {
            if index >= length {
                return Err(Error::Index { op: "class mixture", index, length });
            }
            if !(weight >= 0.0 && weight.is_finite()) {
                return Err(Error::Range { what: "a class's weight", value: weight, range: "finite and not negative" });
            }
        }
        let largest = weights.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
        if largest == 0.0 {
            return Err(Error::Range { what: "the largest weight of a class", value: largest, range: "positive" });
        }
        // Relative to the largest, so that their sum cannot overflow.
        let total: f64 = weights.iter().map(|(_, weight)| weight / largest).sum();
        let kept = weights.iter().filter(|(_, weight)| *weight > 0.0);
        let (classes, log_weights) =
            kept.map(|(class, weight)| (*class, libm::log(*weight) - libm::log(largest) - libm::log(total))).unzip();
        Ok(Self { classifier, classes, log_weights })
    }

    /// The classifier.
    pub fn classifier(&self) -> &Classifier<T> {
        &self.classifier
    }

    /// r, by a classifier over any tensor.
    fn evaluate<U: Tensor>(&self, classifier: &Classifier<U>, x: &U) -> Result<U> {
        let log_weights = x.device().from_slice(&self.log_weights, Shape::new(&[1, self.log_weights.len()])?)?;
        let chosen = classifier.log_probabilities(x)?.gather(1, &self.classes)?.add(&log_weights)?;
        let sum = chosen.log_mean_exp(1)?.shift(libm::log(self.classes.len() as f64))?;
        sum.reshape(Shape::new(&[x.shape().batch()])?)
    }
}

impl<T: Tensor> Reward<T> for ClassMixtureReward<T> {
    fn value(&self, x: &T) -> Result<T> {
        self.evaluate(&self.classifier, x)
    }

    fn value_and_gradient(&self, x: &T) -> Result<(T, T)> {
        let frozen = self.classifier.rebuild(&mut |_, tensor| Ok(Var::constant(tensor.clone())))?;
        differentiate(x, |x| self.evaluate(&frozen, x))
    }
}
