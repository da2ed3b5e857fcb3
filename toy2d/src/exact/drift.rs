//! The drift of a mixture, in tensor operations.

use crate::linear_algebra::apply;
use crate::mixture::GaussianMixture;
use mfm_core::drift::Drift;
use mfm_core::interpolant::{Interpolant, check_time};
use mfm_core::tensor::Transpose;
use mfm_core::{Condition, Device, Error, Operations, Result, Shape, Tensor};

/// b_t(x) = Σ π_k(x) b_k(x) of a Gaussian mixture on a path, in the eigenvectors of each covariance S_k = U_kᵀ diag(λ) U_k.
///
/// With y = U_k (x − β m_k) and M = β² λ + α²: b_k = β̇ m_k + U_kᵀ ((β̇ β λ + α̇ α)/M) y and π_k ∝ w_k exp(−½ Σ (y²/M + log M)). Made of
/// tensor operations alone, so it can be differentiated by x to any order; finite for all t in [0, 1].
#[derive(Clone, Debug)]
pub struct MixtureDrift {
    path: &'static dyn Interpolant,
    dimension: usize,
    log_weights: Vec<f64>,
    /// U_k, K·d rows of d.
    rotations: Vec<f64>,
    /// U_k m_k and λ_k, K·d each.
    centres: Vec<f64>,
    spreads: Vec<f64>,
}

impl MixtureDrift {
    /// The drift of `mixture` on `path`.
    pub fn new(mixture: &GaussianMixture, path: &'static dyn Interpolant) -> Self {
        let d = mixture.dimension();
        let (mut rotations, mut centres, mut spreads) = (Vec::new(), Vec::new(), Vec::new());
        for component in mixture.components() {
            let (values, vectors) = component.covariance_matrix().symmetric_eigen();
            let mut centre = vec![0.0; d];
            apply(vectors.data(), component.mean(), &mut centre);
            rotations.extend_from_slice(vectors.data());
            centres.extend(centre);
            spreads.extend(values);
        }
        let log_weights = mixture.weights().iter().map(|w| w.ln()).collect();
        Self { path, dimension: d, log_weights, rotations, centres, spreads }
    }

    /// The path.
    pub fn path(&self) -> &'static dyn Interpolant {
        self.path
    }

    /// d.
    pub fn dimension(&self) -> usize {
        self.dimension
    }
}

impl<T: Tensor> Drift<T> for MixtureDrift {
    fn drift(&self, t: &[f64], x: &T, _: Condition<'_>) -> Result<T> {
        let (shape, device) = (x.shape(), x.device());
        let (n, d, k) = (shape.batch(), self.dimension, self.log_weights.len());
        if shape.item() != d {
            return Err(Error::Length { op: "the dimension of a state", expected: d, found: shape.item() });
        }
        if t.len() != 1 && t.len() != n {
            return Err(Error::Length { op: "the times of a drift", expected: n, found: t.len() });
        }
        let width = k * d;
        // By time and by axis of each component: β c, 1/M, (β̇ β λ + α̇ α)/M, and β̇ c; by time and component the constant of log π.
        let mut tables: [Vec<f64>; 4] = core::array::from_fn(|_| Vec::with_capacity(t.len() * width));
        let mut constants = Vec::with_capacity(t.len() * k);
        for &t in t {
            check_time("the time of a drift", t)?;
            let at = self.path.coefficients(t);
            for (component, log_weight) in self.log_weights.iter().enumerate() {
                let mut constant = *log_weight;
                for axis in component * d..(component + 1) * d {
                    let (centre, spread) = (self.centres[axis], self.spreads[axis]);
                    let variance = at.beta * at.beta * spread + at.alpha * at.alpha;
                    tables[0].push(at.beta * centre);
                    tables[1].push(1.0 / variance);
                    tables[2].push((at.beta_dot * at.beta * spread + at.noise_rate) / variance);
                    tables[3].push(at.beta_dot * centre);
                    constant -= 0.5 * variance.ln();
                }
                constants.push(constant);
            }
        }
        let table = |values: &[f64]| device.from_slice(values, Shape::new(&[t.len(), k, d])?);
        let [means, precisions, slopes, pulls] = &tables;
        let rotation = device.from_slice(&self.rotations, Shape::new(&[width, d])?)?;
        let flat = x.reshape(Shape::new(&[n, d])?)?;
        let turned = flat.matmul(&rotation, Transpose::RIGHT)?.reshape(Shape::new(&[n, k, d])?)?;
        let residual = turned.sub(&table(means)?)?;
        let drifts = residual.mul(&table(slopes)?)?.add(&table(pulls)?)?;
        let quadratic = residual.square()?.mul(&table(precisions)?)?.sum(2)?.scale(-0.5)?;
        let constants = device.from_slice(&constants, Shape::new(&[t.len(), k, 1])?)?;
        let weights = quadratic.add(&constants)?.softmax(1)?;
        let mixed = drifts.mul(&weights)?.reshape(Shape::new(&[n, width])?)?;
        mixed.matmul(&rotation, Transpose::NONE)?.reshape(shape)
    }
}
