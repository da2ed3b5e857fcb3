//! The value function of a quadratic reward, its gradient, and the tilted target, in closed form.
//!
//! For one Gaussian, log E\[e^{r(X)}\] with X ~ N(μ, C) is a quadratic reward e of μ
//! (`QuadraticReward::averaged`), and the tilted law has mean μ + C ∇e(μ) and covariance (C⁻¹ + P)⁻¹. For a mixture, values add
//! under log-sum-exp. Source: Gaussian integrals, by completing the square.

use crate::at_time::AtTime;
use crate::check;
use crate::gaussian::Gaussian;
use crate::linear_algebra::{Matrix, add_scaled, add_transposed};
use crate::mixture::{GaussianMixture, LogSum};
use crate::posterior::Posterior;
use crate::reward::QuadraticReward;
use mfm_core::{Error, Result};

/// V_t(x) = log E\[e^{r(x1)} | x_t = x\] at one time, with all that does not depend on the state computed once.
#[derive(Clone, Debug)]
pub struct ValueAt {
    at: AtTime,
    components: Vec<Component>,
}

#[derive(Clone, Debug)]
struct Component {
    /// e_k, the log average of e^r over N(μ_k, C_k) as a reward of μ_k.
    averaged: QuadraticReward,
    /// F_k G_k, the rows of e_k by the state.
    rows: Vec<f64>,
    /// G_kᵀ h.
    slope: Vec<f64>,
}

impl ValueAt {
    /// The value of `reward` for the mixture and time of `at`.
    ///
    /// # Errors
    /// [`Error::Length`] unless the dimensions agree, [`Error::NonFinite`] where the reward overflows.
    pub fn new(at: &AtTime, reward: &QuadraticReward) -> Result<Self> {
        check::length("the dimension of a reward", at.dimension(), reward.dimension())?;
        let components = at.shrinkages().map(|shrinkage| Component::new(at, shrinkage, reward)).collect::<Result<_>>()?;
        Ok(Self { at: at.clone(), components })
    }

    /// The mixture and its time.
    pub fn at_time(&self) -> &AtTime {
        &self.at
    }

    /// V_t at n states, n × d, into n numbers.
    ///
    /// # Errors
    /// [`Error::Length`] where the lists do not fit, [`Error::NonFinite`] as for [`AtTime::condition`].
    pub fn values(&self, states: &[f64], out: &mut [f64]) -> Result<()> {
        let mut gradients = check::zeros("gradients of a value", states.len(), 1)?;
        self.values_and_gradients(states, out, &mut gradients)
    }

    /// V_t and ∇V_t = Σ ω_k \[∇ log p_k + G_kᵀ ∇e_k(μ_k)\], ω ∝ p_k e^{e_k(μ_k)}, at n states, n × d, into n numbers and n rows.
    ///
    /// # Errors
    /// As for [`values`](Self::values).
    pub fn values_and_gradients(&self, states: &[f64], values: &mut [f64], gradients: &mut [f64]) -> Result<()> {
        let d = self.at.dimension();
        let n = check::rows("the states of a value", d, states.len())?;
        check::length("the values of a value function", n, values.len())?;
        check::length("the gradients of a value function", n * d, gradients.len())?;
        let mut posterior = Posterior::zeros(self.at.components(), d);
        for ((x, value), gradient) in states.chunks_exact(d).zip(values).zip(gradients.chunks_exact_mut(d)) {
            self.at.condition(x, &mut posterior)?;
            *value = self.of_posterior(&posterior, gradient)?;
        }
        Ok(())
    }

    /// V_t of a state whose posterior is at hand, with ∇V_t into d numbers. Allocates nothing.
    ///
    /// # Errors
    /// [`Error::Length`] where the sizes do not fit.
    pub fn of_posterior(&self, posterior: &Posterior, gradient: &mut [f64]) -> Result<f64> {
        let d = self.at.dimension();
        check::length("a posterior's means", self.components.len() * d, posterior.means().len())?;
        check::length("the gradient of a value", d, gradient.len())?;
        gradient.fill(0.0);
        let mut sum = LogSum::default();
        let rows = posterior.means().chunks_exact(d).zip(posterior.component_scores().chunks_exact(d));
        for ((component, log_weight), (mean, score)) in self.components.iter().zip(posterior.log_weights()).zip(rows) {
            let (shrink, weight) = sum.add(log_weight + component.averaged.value_at(mean));
            gradient.iter_mut().for_each(|g| *g *= shrink);
            if weight > 0.0 {
                component.add_gradient(weight, mean, score, gradient);
            }
        }
        let total = sum.scaled();
        for (g, score) in gradient.iter_mut().zip(posterior.score()) {
            *g = *g / total - score;
        }
        Ok(sum.value())
    }
}

impl Component {
    fn new(at: &AtTime, shrinkage: &Matrix, reward: &QuadraticReward) -> Result<Self> {
        let path = at.coefficients();
        let averaged = reward.averaged(&shrinkage.scale(path.alpha * path.alpha))?;
        let gain = shrinkage.scale(path.beta);
        let d = reward.dimension();
        let (mut rows, mut slope) = (vec![0.0; averaged.rows.len()], vec![0.0; d]);
        // The gain is symmetric: Gᵀ f = G f for every row f.
        for (row, out) in averaged.rows.chunks_exact(d).zip(rows.chunks_exact_mut(d)) {
            gain.apply(row, out);
        }
        gain.apply(&averaged.slope, &mut slope);
        Ok(Self { averaged, rows, slope })
    }

    /// gradient += weight · (score_k + Gᵀ ∇e(mean)).
    fn add_gradient(&self, weight: f64, mean: &[f64], score: &[f64], gradient: &mut [f64]) {
        add_scaled(weight, score, gradient);
        add_scaled(weight, &self.slope, gradient);
        for ((residual, _), row) in self.averaged.residuals(mean).zip(self.rows.chunks_exact(mean.len())) {
            add_scaled(-weight * residual, row, gradient);
        }
    }
}

/// A tilted mixture, and the log of its normaliser.
#[derive(Clone, Debug, PartialEq)]
pub struct Tilted {
    /// p(x) e^{r(x)} / Z.
    pub mixture: GaussianMixture,
    /// log Z = log E\[e^{r(X)}\].
    pub log_normaliser: f64,
}

/// `mixture` tilted by `reward`: weights ∝ w_k e^{e_k(m_k)}, covariances T_k = (S_k⁻¹ + P)⁻¹, means m_k + S_k ∇e_k(m_k).
///
/// # Errors
/// [`Error::Length`] unless the dimensions agree, [`Error::NonFinite`] where the reward overflows, [`Error::Range`] where a tilted
/// covariance is singular to rounding.
pub fn tilt(mixture: &GaussianMixture, reward: &QuadraticReward) -> Result<Tilted> {
    let d = mixture.dimension();
    check::length("the dimension of a reward", d, reward.dimension())?;
    let curvature = reward.curvature();
    let (mut log_weights, mut components) = (Vec::new(), Vec::new());
    let (mut gradient, mut total) = (vec![0.0; d], LogSum::default());
    for (weight, component) in mixture.weights().iter().zip(mixture.components()) {
        let averaged = reward.averaged(component.covariance_matrix())?;
        let term = libm::log(*weight) + averaged.value_at(component.mean());
        total.add(term);
        log_weights.push(term);
        averaged.gradient_at(component.mean(), &mut gradient);
        let mut mean = component.mean().to_vec();
        add_transposed(1.0, component.covariance(), &gradient, &mut mean);
        check::finite("the mean of a tilted mixture", &mean)?;
        components.push(Gaussian::from_matrix(mean, tilted_covariance(component, &curvature)?)?);
    }
    let log_normaliser = total.value();
    check::finite("the log normaliser of a tilted mixture", &[log_normaliser])?;
    let weights = log_weights.iter().map(|w| libm::exp(w - log_normaliser)).collect();
    Ok(Tilted { mixture: GaussianMixture::from_normalised(weights, components), log_normaliser })
}

/// (S⁻¹ + P)⁻¹ = U (I + Uᵀ P U)⁻¹ Uᵀ with S = U Uᵀ: without a difference, so positive definite.
fn tilted_covariance(component: &Gaussian, curvature: &Matrix) -> Result<Matrix> {
    let factor = component.factor();
    let inner = factor.transpose().product(curvature).product(factor).symmetrised();
    let sum = inner.combine(1.0, &Matrix::diagonal(inner.size(), 1.0), 1.0);
    let root = sum.cholesky().ok_or(Error::NonFinite { what: "a reward's curvature over a covariance", index: 0 })?;
    // T = (U R⁻ᵀ)(U R⁻ᵀ)ᵀ.
    let half = factor.product(&root.lower_inverse().transpose());
    Ok(half.product(&half.transpose()).symmetrised())
}
