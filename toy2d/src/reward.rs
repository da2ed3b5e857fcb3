//! Quadratic rewards: those that keep Gaussian mixtures Gaussian mixtures.

use crate::check;
use crate::gaussian::check_symmetric;
use crate::linear_algebra::{Matrix, add_scaled, add_transposed, dot};
use mfm_core::{Error, Result};

/// r(x) = −½ |F x − f|² + hᵀ x + c; that is −½ xᵀ P x + ... with P = Fᵀ F positive semidefinite.
///
/// The square is kept factored (F has one row per observation), so that a sharp likelihood loses no digits.
#[derive(Clone, Debug, PartialEq)]
pub struct QuadraticReward {
    /// F, row-major m × d; m may be zero.
    pub(crate) rows: Vec<f64>,
    /// f, m numbers.
    pub(crate) target: Vec<f64>,
    /// h, d numbers.
    pub(crate) slope: Vec<f64>,
    /// c.
    pub(crate) offset: f64,
}

impl QuadraticReward {
    /// r(x) = −½ xᵀ P x + hᵀ x + c for a symmetric positive semidefinite P, row-major d × d, and h of d numbers.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are d ≥ 1 and d² values, [`Error::NonFinite`], and [`Error::Range`] unless P is symmetric
    /// (to 1e-9 of its largest entry) with no eigenvalue below −1e-9 of its largest (those between it and zero count as zero).
    pub fn new(curvature: &[f64], slope: &[f64], offset: f64) -> Result<Self> {
        let d = slope.len();
        check::length("the curvature of a reward", d.saturating_mul(d), curvature.len())?;
        check::finite("the curvature of a reward", curvature)?;
        let matrix = Matrix::new(d, curvature.to_vec());
        check_symmetric("the asymmetry of a reward's curvature", &matrix)?;
        let (values, vectors) = matrix.symmetric_eigen();
        let smallest = values.last().copied().unwrap_or(0.0);
        if smallest < -1e-9 * values.first().copied().unwrap_or(0.0).abs().max(-smallest) {
            let (what, range) = ("the smallest eigenvalue of a reward's curvature", "not negative");
            return Err(Error::Range { what, value: smallest, range });
        }
        let mut reward = Self::linear(slope, offset)?;
        for (i, value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            reward.rows.extend(vectors.row(i).iter().map(|v| v * value.sqrt()));
            reward.target.push(0.0);
        }
        Ok(reward)
    }

    /// r(x) = hᵀ x + c.
    ///
    /// # Errors
    /// [`Error::Length`] for an empty h, [`Error::NonFinite`] for a NaN or an infinity.
    pub fn linear(slope: &[f64], offset: f64) -> Result<Self> {
        if slope.is_empty() {
            return Err(Error::Length { op: "the slope of a reward", expected: 1, found: 0 });
        }
        check::finite("the slope of a reward", slope)?;
        check::finite("the offset of a reward", &[offset])?;
        Ok(Self { rows: Vec::new(), target: Vec::new(), slope: slope.to_vec(), offset })
    }

    /// r(x) = −|y − A x|²/(2σ²): the log likelihood, up to a constant, of m observations y of A x with noise σ. A is row-major
    /// m × d.
    ///
    /// # Errors
    /// [`Error::Length`] unless y has m ≥ 1 values and A m × d with d ≥ 1, [`Error::NonFinite`], and [`Error::Range`] unless σ
    /// is positive.
    pub fn observation(operator: &[f64], observed: &[f64], sigma: f64) -> Result<Self> {
        let d = check::rows("the operator of an observation", observed.len(), operator.len())?;
        check::finite("the operator of an observation", operator)?;
        check::finite("an observation", observed)?;
        check::positive("the noise of an observation", sigma)?;
        let mut reward = Self::linear(&vec![0.0; d], 0.0)?;
        reward.rows = operator.iter().map(|a| a / sigma).collect();
        reward.target = observed.iter().map(|y| y / sigma).collect();
        check::finite("an operator over its noise", &reward.rows)?;
        check::finite("an observation over its noise", &reward.target)?;
        Ok(reward)
    }

    /// The reward of the paper's toy: −(−1 − (1.2, −0.8)·x)²/(2 · 0.2²).
    pub fn paper() -> Self {
        Self { rows: vec![1.2 / 0.2, -0.8 / 0.2], target: vec![-1.0 / 0.2], slope: vec![0.0; 2], offset: 0.0 }
    }

    /// d.
    pub fn dimension(&self) -> usize {
        self.slope.len()
    }

    /// r at each row of `points`, n × d, into `out`, n.
    ///
    /// # Errors
    /// [`Error::Length`] where these do not fit.
    pub fn value(&self, points: &[f64], out: &mut [f64]) -> Result<()> {
        let n = check::rows("the points of a reward", self.dimension(), points.len())?;
        check::length("the values of a reward", n, out.len())?;
        for (x, value) in points.chunks_exact(self.dimension()).zip(out) {
            *value = self.value_at(x);
        }
        Ok(())
    }

    /// ∇r = h − Fᵀ(F x − f) at each row of `points`, n × d, into `out`, n × d.
    ///
    /// # Errors
    /// [`Error::Length`] where these do not fit.
    pub fn gradient(&self, points: &[f64], out: &mut [f64]) -> Result<()> {
        check::rows("the points of a reward", self.dimension(), points.len())?;
        check::length("the gradients of a reward", points.len(), out.len())?;
        for (x, gradient) in points.chunks_exact(self.dimension()).zip(out.chunks_exact_mut(self.dimension())) {
            self.gradient_at(x, gradient);
        }
        Ok(())
    }

    pub(crate) fn value_at(&self, x: &[f64]) -> f64 {
        let squares = self.residuals(x).map(|(residual, _)| residual * residual).sum::<f64>();
        self.offset + dot(&self.slope, x) - 0.5 * squares
    }

    pub(crate) fn gradient_at(&self, x: &[f64], out: &mut [f64]) {
        out.copy_from_slice(&self.slope);
        for (residual, row) in self.residuals(x) {
            add_scaled(-residual, row, out);
        }
    }

    /// (F x − f)_i with the row of F.
    pub(crate) fn residuals(&self, x: &[f64]) -> impl Iterator<Item = (f64, &[f64])> {
        let rows = self.rows.chunks_exact(self.dimension());
        rows.zip(&self.target).map(move |(row, target)| (dot(row, x) - target, row))
    }

    /// log E\[exp r(m + C^½ ε)\] as a function of m: a quadratic reward again.
    ///
    /// With Q = I + F C Fᵀ = L Lᵀ: −½ |L⁻¹(F m − (f − F C h))|² + hᵀ m + c + ½ hᵀ C h − ½ log det Q. Finite for singular C.
    pub(crate) fn averaged(&self, covariance: &Matrix) -> Result<Self> {
        let (d, m) = (self.dimension(), self.target.len());
        let mut spread = vec![0.0; m * d];
        for (row, out) in self.rows.chunks_exact(d).zip(spread.chunks_exact_mut(d)) {
            covariance.apply(row, out);
        }
        let widened = Matrix::from_fn(m, |i, j| dot(&self.rows[i * d..(i + 1) * d], &spread[j * d..(j + 1) * d]) + f64::from(i == j));
        let factor = widened.symmetrised().cholesky().ok_or(Error::NonFinite { what: "a reward over a covariance", index: 0 })?;
        let mut pulled = vec![0.0; d];
        covariance.apply(&self.slope, &mut pulled);
        let mut target: Vec<f64> = self.target.iter().zip(self.rows.chunks_exact(d)).map(|(f, row)| f - dot(row, &pulled)).collect();
        factor.solve_lower(&mut target);
        let inverse = factor.lower_inverse();
        let mut rows = vec![0.0; m * d];
        for (i, out) in rows.chunks_exact_mut(d).enumerate() {
            add_transposed(1.0, &self.rows, inverse.row(i), out);
        }
        let offset = self.offset + 0.5 * dot(&self.slope, &pulled) - 0.5 * factor.log_determinant_from_factor();
        Ok(Self { rows, target, slope: self.slope.clone(), offset })
    }

    /// Fᵀ F.
    pub(crate) fn curvature(&self) -> Matrix {
        let d = self.dimension();
        Matrix::from_fn(d, |i, j| self.rows.chunks_exact(d).map(|row| row[i] * row[j]).sum())
    }
}
