//! The orthonormal basis of a transport.

use crate::check;
use crate::linear_algebra::{Matrix, dot};
use crate::mixture::GaussianMixture;
use mfm_core::{Error, Result};

/// An ordered orthonormal basis E, its axes as rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Axes {
    basis: Matrix,
}

impl Axes {
    /// The coordinate axes of `dimension` dimensions.
    ///
    /// # Errors
    /// [`Error::Range`] for no dimension, [`Error::TooLarge`] or [`Error::OutOfMemory`] where they cannot be held.
    pub fn coordinates(dimension: usize) -> Result<Self> {
        if dimension == 0 {
            return Err(Error::Range { what: "the dimension of axes", value: 0.0, range: "at least 1" });
        }
        check::room("axes", &[dimension, dimension])?;
        Ok(Self { basis: Matrix::diagonal(dimension, 1.0) })
    }

    /// The principal axes of the scatter between `mixture`'s means, Σ w_k (m_k − m̄)(m_k − m̄)ᵀ, widest first; where the means do
    /// not differ, those of the mean covariance.
    ///
    /// Take them from the prior, and keep them for all its posteriors, so that they do not turn with the state.
    pub fn principal(mixture: &GaussianMixture) -> Self {
        let covariance = mixture.mean_covariance();
        let d = covariance.size();
        let (values, vectors) = mixture.scatter().symmetric_eigen();
        let trace: f64 = (0..d).map(|i| covariance.at(i, i)).sum();
        let floor = 1e-12 * values.first().copied().unwrap_or(0.0).max(1e-2 * trace);
        let rank = values.iter().filter(|v| **v > floor).count();
        let rest = d - rank;
        // The covariance within the span of the axes along which the means agree.
        let image: Vec<Vec<f64>> = (rank..d)
            .map(|i| {
                let mut out = vec![0.0; d];
                covariance.apply(vectors.row(i), &mut out);
                out
            })
            .collect();
        let (_, turns) = Matrix::from_fn(rest, |i, j| dot(vectors.row(rank + i), &image[j])).symmetric_eigen();
        let entry = |i: usize, j: usize| {
            if i < rank { vectors.at(i, j) } else { (0..rest).map(|k| turns.at(i - rank, k) * vectors.at(rank + k, j)).sum() }
        };
        Self { basis: Matrix::from_fn(d, entry) }
    }

    /// d.
    pub fn dimension(&self) -> usize {
        self.basis.size()
    }

    /// E, row-major d × d: one axis a row.
    pub fn rows(&self) -> &[f64] {
        self.basis.data()
    }

    pub(crate) fn matrix(&self) -> &Matrix {
        &self.basis
    }
}
