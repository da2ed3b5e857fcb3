//! What one state says about the data.

use crate::linear_algebra::add_scaled;
use crate::mixture::LogSum;

/// The posterior p(x1 | x_t = x) = Σ_k p_k(x) N(μ_k(x), C_k) of one state x, with the derivatives of its weights.
///
/// The covariances do not depend on the state: [`AtTime`](crate::AtTime) holds them. Made by
/// [`AtTime::posterior`](crate::AtTime::posterior) and refilled, without allocation, by
/// [`AtTime::condition`](crate::AtTime::condition).
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    pub(crate) log_weights: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    pub(crate) means: Vec<f64>,
    pub(crate) component_scores: Vec<f64>,
    pub(crate) score: Vec<f64>,
    pub(crate) mean: Vec<f64>,
    pub(crate) log_density: f64,
    /// x − β m_k of one component.
    pub(crate) residual: Vec<f64>,
}

impl Posterior {
    pub(crate) fn zeros(components: usize, dimension: usize) -> Self {
        Self {
            log_weights: vec![0.0; components],
            weights: vec![0.0; components],
            means: vec![0.0; components * dimension],
            component_scores: vec![0.0; components * dimension],
            score: vec![0.0; dimension],
            mean: vec![0.0; dimension],
            log_density: 0.0,
            residual: vec![0.0; dimension],
        }
    }

    /// p_k, K numbers that sum to one; some may be zero where log p_k is below −745.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// log p_k, K numbers; −∞ only where the prior's weight is zero or the component is beyond f64's range.
    pub fn log_weights(&self) -> &[f64] {
        &self.log_weights
    }

    /// μ_k = m_k + G_k (x − β m_k), row-major K × d.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// ∇_x log p_t(x | k) = −(β² S_k + α² I)⁻¹ (x − β m_k), row-major K × d. The weights move by
    /// ∇ log p_k = this − [`score`](Self::score).
    pub fn component_scores(&self) -> &[f64] {
        &self.component_scores
    }

    /// ∇_x log p_t(x), d numbers.
    pub fn score(&self) -> &[f64] {
        &self.score
    }

    /// D_t(x) = E\[x1 | x_t = x\], d numbers.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// log p_t(x).
    pub fn log_density(&self) -> f64 {
        self.log_density
    }

    /// From unnormalised log weights, component means and component scores, all the rest.
    pub(crate) fn finish(&mut self) {
        let mut sum = LogSum::default();
        for term in &self.log_weights {
            sum.add(*term);
        }
        self.log_density = sum.value();
        self.score.fill(0.0);
        self.mean.fill(0.0);
        let d = self.mean.len().max(1);
        let rows = self.means.chunks_exact(d).zip(self.component_scores.chunks_exact(d));
        for ((log_weight, weight), (mean, score)) in self.log_weights.iter_mut().zip(&mut self.weights).zip(rows) {
            *log_weight -= self.log_density;
            *weight = libm::exp(*log_weight);
            add_scaled(*weight, mean, &mut self.mean);
            add_scaled(*weight, score, &mut self.score);
        }
    }
}
