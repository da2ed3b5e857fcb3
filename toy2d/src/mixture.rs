//! Mixtures of Gaussians, in any dimension, with any covariances.

use crate::check;
use crate::gaussian::Gaussian;
use crate::linear_algebra::{Matrix, add_scaled};
use mfm_core::{Error, Noise, Result};

/// Σ_k w_k N(m_k, S_k).
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianMixture {
    weights: Vec<f64>,
    components: Vec<Gaussian>,
}

impl GaussianMixture {
    /// A mixture of `components`, all of one dimension, with `weights` that are positive and finite (they are normalised here).
    ///
    /// # Errors
    /// [`Error::Length`] for no component, another number of weights, or unequal dimensions; [`Error::Range`] for a weight that
    /// is not positive and finite.
    pub fn new(weights: &[f64], components: Vec<Gaussian>) -> Result<Self> {
        if components.is_empty() {
            return Err(Error::Length { op: "the components of a mixture", expected: 1, found: 0 });
        }
        check::length("the weights of a mixture", components.len(), weights.len())?;
        let dimension = components.first().map_or(0, Gaussian::dimension);
        for component in &components {
            check::length("the dimension of a mixture's component", dimension, component.dimension())?;
        }
        for &weight in weights {
            check::positive("a mixture's weight", weight)?;
        }
        // By the largest first, so that the sum cannot overflow.
        let largest = weights.iter().fold(0.0, |a: f64, w| a.max(*w));
        let total: f64 = weights.iter().map(|w| w / largest).sum();
        Ok(Self { weights: weights.iter().map(|w| w / largest / total).collect(), components })
    }

    /// A mixture from row-major lists: K weights, K × d means, K × d × d covariances.
    ///
    /// # Errors
    /// As for [`new`](Self::new) and [`Gaussian::new`].
    pub fn from_parts(dimension: usize, weights: &[f64], means: &[f64], covariances: &[f64]) -> Result<Self> {
        if dimension == 0 {
            return Err(Error::Range { what: "a mixture's dimension", value: 0.0, range: "at least 1" });
        }
        let k = weights.len();
        check::length("the means of a mixture", k.saturating_mul(dimension), means.len())?;
        check::length("the covariances of a mixture", means.len().saturating_mul(dimension), covariances.len())?;
        let parts = means.chunks_exact(dimension).zip(covariances.chunks_exact(dimension.saturating_mul(dimension)));
        Self::new(weights, parts.map(|(mean, covariance)| Gaussian::new(mean, covariance)).collect::<Result<_>>()?)
    }

    /// The prior of the paper's toy: one third each at (−3, −3), (0, 0), (3, 3), covariance ½ I.
    pub fn paper() -> Self {
        let component = |m: f64| Gaussian::isotropic(&[m, m], 0.5).ok();
        Self { weights: vec![1.0 / 3.0; 3], components: [-3.0, 0.0, 3.0].into_iter().filter_map(component).collect() }
    }

    /// From weights that sum to one, where some may have underflowed to zero.
    pub(crate) fn from_normalised(weights: Vec<f64>, components: Vec<Gaussian>) -> Self {
        Self { weights, components }
    }

    /// d.
    pub fn dimension(&self) -> usize {
        self.components.first().map_or(0, Gaussian::dimension)
    }

    /// w, K numbers that sum to one.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The K components.
    pub fn components(&self) -> &[Gaussian] {
        &self.components
    }

    /// log Σ_k w_k N(x; m_k, S_k).
    ///
    /// # Errors
    /// [`Error::Length`] unless x has d values, [`Error::NonFinite`] for a NaN or an infinity.
    pub fn log_density(&self, x: &[f64]) -> Result<f64> {
        let mut sum = LogSum::default();
        for (weight, component) in self.weights.iter().zip(&self.components) {
            sum.add(libm::log(*weight) + component.log_density(x)?);
        }
        Ok(sum.value())
    }

    /// Σ_k w_k N(x; m_k, S_k).
    ///
    /// # Errors
    /// As for [`log_density`](Self::log_density).
    pub fn density(&self, x: &[f64]) -> Result<f64> {
        Ok(libm::exp(self.log_density(x)?))
    }

    /// Σ_k w_k m_k, d numbers.
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.dimension()];
        for (weight, component) in self.weights.iter().zip(&self.components) {
            add_scaled(*weight, component.mean(), &mut mean);
        }
        mean
    }

    /// Σ_k w_k [S_k + (m_k − m̄)(m_k − m̄)ᵀ], row-major d × d.
    pub fn covariance(&self) -> Vec<f64> {
        self.mean_covariance().combine(1.0, &self.scatter(), 1.0).data().to_vec()
    }

    /// Σ_k w_k S_k.
    pub(crate) fn mean_covariance(&self) -> Matrix {
        let zero = Matrix::diagonal(self.dimension(), 0.0);
        self.weights.iter().zip(&self.components).fold(zero, |sum, (w, c)| sum.combine(1.0, c.covariance_matrix(), *w))
    }

    /// Σ_k w_k (m_k − m̄)(m_k − m̄)ᵀ.
    pub(crate) fn scatter(&self) -> Matrix {
        let centre = self.mean();
        Matrix::from_fn(self.dimension(), |i, j| {
            let term = |(w, c): (&f64, &Gaussian)| w * (c.mean()[i] - centre[i]) * (c.mean()[j] - centre[j]);
            self.weights.iter().zip(&self.components).map(term).sum()
        })
    }

    /// `n` exact samples, row-major n × d. Sample i is a function of `noise` and i alone: its component comes from element i of
    /// fork 0, its normals from the elements i·d to (i+1)·d of fork 1.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::OutOfMemory`] where n × d numbers cannot be held.
    pub fn sample(&self, n: usize, noise: &Noise) -> Result<Vec<f64>> {
        let mut choices = check::zeros("samples of a mixture", n, 1)?;
        let mut samples = check::zeros("samples of a mixture", n, self.dimension())?;
        noise.fork(0).fill_uniform(&mut choices);
        noise.fork(1).fill_normal(&mut samples);
        let mut scratch = vec![0.0; self.dimension()];
        for (row, choice) in samples.chunks_exact_mut(self.dimension().max(1)).zip(&choices) {
            if let Some(component) = self.component_at(*choice) {
                component.colour(row, &mut scratch);
            }
        }
        Ok(samples)
    }

    /// The component whose share of [0, 1) holds `choice`; the last of positive weight where rounding leaves a remainder.
    fn component_at(&self, mut choice: f64) -> Option<&Gaussian> {
        let mut last = None;
        for (weight, component) in self.weights.iter().zip(&self.components).filter(|(w, _)| **w > 0.0) {
            last = Some(component);
            if choice < *weight {
                break;
            }
            choice -= weight;
        }
        last
    }
}

/// A running log Σ exp, safe from overflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSum {
    largest: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self { largest: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSum {
    /// Adds exp(`term`). Returns the factors by which what was summed so far, and this term, are to be scaled: a sum of vectors
    /// weighted by the same exponentials then keeps pace.
    pub(crate) fn add(&mut self, term: f64) -> (f64, f64) {
        if term == f64::NEG_INFINITY {
            return (1.0, 0.0);
        }
        if term <= self.largest {
            let weight = libm::exp(term - self.largest);
            self.sum += weight;
            return (1.0, weight);
        }
        let shrink = libm::exp(self.largest - term);
        self.sum = self.sum * shrink + 1.0;
        self.largest = term;
        (shrink, 1.0)
    }

    /// The sum in units of its largest term.
    pub(crate) fn scaled(&self) -> f64 {
        self.sum
    }

    /// log Σ exp; −∞ of nothing.
    pub(crate) fn value(&self) -> f64 {
        self.largest + libm::log(self.sum)
    }
}
