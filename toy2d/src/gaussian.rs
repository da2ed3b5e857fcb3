//! One Gaussian, in any dimension, with any covariance.

use crate::check;
use crate::linear_algebra::{Matrix, apply, dot};
use crate::normal::LOG_TAU;
use mfm_core::{Error, Noise, Result};

/// N(m, S): density, moments and samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    mean: Vec<f64>,
    covariance: Matrix,
    /// L, lower, of S = L Lᵀ.
    factor: Matrix,
}

impl Gaussian {
    /// N(`mean`, `covariance`): d numbers, and a row-major d × d symmetric positive definite matrix.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are d ≥ 1 and d² values, [`Error::NonFinite`] for a NaN or an infinity, [`Error::Range`]
    /// unless the covariance is symmetric (to 1e-9 of its largest entry) and positive definite.
    pub fn new(mean: &[f64], covariance: &[f64]) -> Result<Self> {
        let d = mean.len();
        if d == 0 {
            return Err(Error::Length { op: "the mean of a Gaussian", expected: 1, found: 0 });
        }
        check::length("the covariance of a Gaussian", d.saturating_mul(d), covariance.len())?;
        check::finite("the mean of a Gaussian", mean)?;
        check::finite("the covariance of a Gaussian", covariance)?;
        let matrix = Matrix::new(d, covariance.to_vec());
        check_symmetric("the asymmetry of a covariance", &matrix)?;
        Self::from_matrix(mean.to_vec(), matrix.symmetrised())
    }

    /// N(`mean`, `variance` I).
    ///
    /// # Errors
    /// [`Error::Length`] for an empty mean, [`Error::NonFinite`], and [`Error::Range`] unless the variance is positive.
    pub fn isotropic(mean: &[f64], variance: f64) -> Result<Self> {
        check::positive("the variance of a Gaussian", variance)?;
        check::room("the covariance of a Gaussian", &[mean.len(), mean.len()])?;
        Self::new(mean, Matrix::diagonal(mean.len(), variance).data())
    }

    /// From a mean that is known to be finite and a covariance that is known to be symmetric.
    pub(crate) fn from_matrix(mean: Vec<f64>, covariance: Matrix) -> Result<Self> {
        let factor = covariance.cholesky().ok_or_else(|| {
            let smallest = covariance.symmetric_eigen().0.last().copied().unwrap_or(f64::NAN);
            Error::Range { what: "the smallest eigenvalue of a covariance", value: smallest, range: "positive, beyond rounding" }
        })?;
        Ok(Self { mean, covariance, factor })
    }

    /// d.
    pub fn dimension(&self) -> usize {
        self.mean.len()
    }

    /// m, d numbers.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// S, row-major d × d.
    pub fn covariance(&self) -> &[f64] {
        self.covariance.data()
    }

    pub(crate) fn covariance_matrix(&self) -> &Matrix {
        &self.covariance
    }

    pub(crate) fn factor(&self) -> &Matrix {
        &self.factor
    }

    /// log N(x; m, S) = −½ (x−m)ᵀ S⁻¹ (x−m) − ½ log det S − (d/2) log 2π.
    ///
    /// # Errors
    /// [`Error::Length`] unless x has d values, [`Error::NonFinite`] for a NaN or an infinity.
    pub fn log_density(&self, x: &[f64]) -> Result<f64> {
        check::length("the point of a density", self.dimension(), x.len())?;
        check::finite("the point of a density", x)?;
        let mut whitened: Vec<f64> = x.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
        self.factor.solve_lower(&mut whitened);
        let constant = self.dimension() as f64 * LOG_TAU + self.factor.log_determinant_from_factor();
        Ok(-0.5 * (dot(&whitened, &whitened) + constant))
    }

    /// `n` samples m + L ε, row-major n × d, where ε_i are the elements i·d to (i+1)·d of `noise`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::OutOfMemory`] where n × d numbers cannot be held.
    pub fn sample(&self, n: usize, noise: &Noise) -> Result<Vec<f64>> {
        let mut samples = check::zeros("samples of a Gaussian", n, self.dimension())?;
        noise.fill_normal(&mut samples);
        let mut scratch = vec![0.0; self.dimension()];
        for row in samples.chunks_exact_mut(self.dimension()) {
            self.colour(row, &mut scratch);
        }
        Ok(samples)
    }

    /// Turns standard normals into a sample, in place.
    pub(crate) fn colour(&self, row: &mut [f64], scratch: &mut [f64]) {
        apply(self.factor.data(), row, scratch);
        for ((x, y), m) in row.iter_mut().zip(scratch).zip(&self.mean) {
            *x = m + *y;
        }
    }
}

/// Checks that a matrix is symmetric, to 1e-9 of its largest entry.
pub(crate) fn check_symmetric(what: &'static str, matrix: &Matrix) -> Result<()> {
    let largest = matrix.data().iter().fold(0.0, |a: f64, v| a.max(v.abs()));
    let n = matrix.size();
    let asymmetry = (0..n * n).map(|i| (matrix.at(i / n, i % n) - matrix.at(i % n, i / n)).abs()).fold(0.0, f64::max);
    if asymmetry <= 1e-9 * largest {
        return Ok(());
    }
    Err(Error::Range { what, value: asymmetry, range: "at most 1e-9 of the largest entry" })
}
