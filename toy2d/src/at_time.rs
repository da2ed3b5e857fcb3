//! A mixture seen through an interpolant at one time: x_t = α x0 + β x1 with x0 ~ N(0, I) and x1 from the mixture.
//!
//! With M_k = β² S_k + α² I and K_k = S_k M_k⁻¹ (symmetric, since the two commute): p_t = Σ w_k N(β m_k, M_k), and the posterior
//! of x1 is Σ p_k N(m_k + G_k (x − β m_k), C_k) with p_k ∝ w_k N(x; β m_k, M_k), gain G_k = β K_k, covariance C_k = α² K_k: all
//! finite at both ends. The drift b = (α̇/α) x + κ D is computed as β̇ D − α̇ α score, finite wherever the interpolant is.
//!
//! Source: Albergo, Boffi, Vanden-Eijnden, *Stochastic Interpolants* (2023), and the conditioning of Gaussians: within a component x1 and
//! x_t are jointly Gaussian, with covariances S_k, β S_k and M_k.

use crate::check;
use crate::gaussian::Gaussian;
use crate::linear_algebra::{Matrix, dot};
use crate::mixture::GaussianMixture;
use crate::normal::LOG_TAU;
use crate::posterior::Posterior;
use mfm_core::interpolant::{Coefficients, Interpolant, check_time};
use mfm_core::{Error, Result};

/// A mixture at one time of an interpolant, with all that does not depend on the state computed once.
///
/// Functions of states take n rows of d numbers and write n rows (or n numbers); n may be zero. They cost K (2 d² + O(d))
/// multiplications a row, and allocate once a call.
#[derive(Clone, Debug)]
pub struct AtTime {
    time: f64,
    path: Coefficients,
    dimension: usize,
    components: Vec<Component>,
}

#[derive(Clone, Debug)]
struct Component {
    /// m_k.
    mean: Vec<f64>,
    /// M_k⁻¹.
    precision: Matrix,
    /// K_k.
    shrinkage: Matrix,
    /// log w_k − ½ log det M_k − (d/2) log 2π.
    constant: f64,
}

impl AtTime {
    /// `mixture` at time `t` of `path`.
    ///
    /// # Errors
    /// [`Error::Range`] unless 0 ≤ t ≤ 1; [`Error::NonFinite`] where α or β is not finite there.
    pub fn new(mixture: &GaussianMixture, path: &dyn Interpolant, t: f64) -> Result<Self> {
        check_time("the time of a mixture", t)?;
        let at = path.coefficients(t);
        check::finite("the coefficients of an interpolant", &[at.alpha, at.beta, at.beta_dot, at.noise_rate])?;
        let dimension = mixture.dimension();
        let components = mixture.weights().iter().zip(mixture.components());
        Ok(Self { time: t, path: at, dimension, components: components.map(|(w, c)| Component::new(*w, c, &at)).collect::<Result<_>>()? })
    }

    /// t.
    pub fn time(&self) -> f64 {
        self.time
    }

    /// α, β and their derivatives at t.
    pub fn coefficients(&self) -> &Coefficients {
        &self.path
    }

    /// d.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// K, the number of components.
    pub fn components(&self) -> usize {
        self.components.len()
    }

    /// The posterior of the state `x`, d numbers.
    ///
    /// # Errors
    /// As for [`condition`](Self::condition).
    pub fn posterior(&self, x: &[f64]) -> Result<Posterior> {
        let mut posterior = Posterior::zeros(self.components(), self.dimension);
        self.condition(x, &mut posterior)?;
        Ok(posterior)
    }

    /// Refills `posterior`, which this mixture (at any time) has made, for the state `x`, d numbers. Allocates nothing.
    ///
    /// # Errors
    /// [`Error::Length`] where the sizes do not fit; [`Error::NonFinite`] for a state that is not finite, or so far out that its
    /// log density is not.
    pub fn condition(&self, x: &[f64], posterior: &mut Posterior) -> Result<()> {
        let d = self.dimension;
        check::length("a state", d, x.len())?;
        check::length("a posterior's components", self.components(), posterior.weights.len())?;
        check::length("a posterior's means", self.components() * d, posterior.means.len())?;
        check::finite("a state", x)?;
        let rows = posterior.means.chunks_exact_mut(d).zip(posterior.component_scores.chunks_exact_mut(d));
        for ((component, log_weight), (mean, score)) in self.components.iter().zip(&mut posterior.log_weights).zip(rows) {
            let residual = &mut posterior.residual;
            for ((r, x), m) in residual.iter_mut().zip(x).zip(&component.mean) {
                *r = x - self.path.beta * m;
            }
            component.precision.apply(residual, score);
            *log_weight = component.constant - 0.5 * dot(residual, score);
            score.iter_mut().for_each(|s| *s = -*s);
            component.shrinkage.apply(residual, mean);
            for (value, m) in mean.iter_mut().zip(&component.mean) {
                *value = m + self.path.beta * *value;
            }
        }
        posterior.finish();
        check::finite("the log density of a state", &[posterior.log_density])
    }

    /// S_k M_k⁻¹ of every component.
    pub(crate) fn shrinkages(&self) -> impl Iterator<Item = &Matrix> {
        self.components.iter().map(|c| &c.shrinkage)
    }

    /// `posterior` as a mixture, to sample or to tilt.
    ///
    /// # Errors
    /// [`Error::Length`] for another mixture's posterior; [`Error::Range`] where α = 0 (at t = 1), since the posterior is then
    /// one point.
    pub fn posterior_mixture(&self, posterior: &Posterior) -> Result<GaussianMixture> {
        check::length("a posterior's means", self.components() * self.dimension, posterior.means.len())?;
        let variance = self.path.alpha * self.path.alpha;
        if variance <= 0.0 {
            return Err(Error::Range { what: "the noise of a state", value: self.path.alpha, range: "positive (a time below 1)" });
        }
        let parts = self.components.iter().zip(posterior.means.chunks_exact(self.dimension));
        let components = parts.map(|(c, mean)| Gaussian::from_matrix(mean.to_vec(), c.shrinkage.scale(variance)));
        Ok(GaussianMixture::from_normalised(posterior.weights.clone(), components.collect::<Result<_>>()?))
    }

    /// log p_t at n states, into n numbers.
    ///
    /// # Errors
    /// [`Error::Length`] where the lists do not fit, [`Error::NonFinite`] as for [`condition`](Self::condition).
    pub fn log_density(&self, states: &[f64], out: &mut [f64]) -> Result<()> {
        self.for_each(states, out, 1, |posterior, out| out.fill(posterior.log_density))
    }

    /// ∇ log p_t at n states, into n rows: Σ p_k ∇ log N(x; β m_k, M_k) = (β D − x)/α².
    ///
    /// # Errors
    /// As for [`log_density`](Self::log_density).
    pub fn score(&self, states: &[f64], out: &mut [f64]) -> Result<()> {
        self.for_each(states, out, self.dimension, |posterior, out| out.copy_from_slice(&posterior.score))
    }

    /// D_t(x) = E\[x1 | x_t = x\] at n states, into n rows.
    ///
    /// # Errors
    /// As for [`log_density`](Self::log_density).
    pub fn posterior_mean(&self, states: &[f64], out: &mut [f64]) -> Result<()> {
        self.for_each(states, out, self.dimension, |posterior, out| out.copy_from_slice(&posterior.mean))
    }

    /// b_t(x) = E\[α̇ x0 + β̇ x1 | x_t = x\] at n states, into n rows.
    ///
    /// # Errors
    /// As for [`log_density`](Self::log_density).
    pub fn drift(&self, states: &[f64], out: &mut [f64]) -> Result<()> {
        self.for_each(states, out, self.dimension, |posterior, out| self.drift_of(posterior, out))
    }

    fn drift_of(&self, posterior: &Posterior, out: &mut [f64]) {
        for ((b, mean), score) in out.iter_mut().zip(&posterior.mean).zip(&posterior.score) {
            *b = self.path.beta_dot * mean - self.path.noise_rate * score;
        }
    }

    /// `write` with the posterior of every state, and its `width` numbers of `out`.
    fn for_each(&self, states: &[f64], out: &mut [f64], width: usize, write: impl Fn(&Posterior, &mut [f64])) -> Result<()> {
        let n = check::rows("the states of a mixture", self.dimension, states.len())?;
        check::length("an output, one row for each state", n * width, out.len())?;
        let mut posterior = Posterior::zeros(self.components(), self.dimension);
        for (x, out) in states.chunks_exact(self.dimension).zip(out.chunks_exact_mut(width)) {
            self.condition(x, &mut posterior)?;
            write(&posterior, out);
        }
        Ok(())
    }
}

impl Component {
    fn new(weight: f64, gaussian: &Gaussian, path: &Coefficients) -> Result<Self> {
        let d = gaussian.dimension();
        let covariance = gaussian.covariance_matrix();
        let seen = covariance.combine(path.beta * path.beta, &Matrix::diagonal(d, 1.0), path.alpha * path.alpha);
        let factor = seen.cholesky().ok_or(Error::NonFinite { what: "the covariance of a state", index: 0 })?;
        let precision = factor.inverse_from_factor();
        Ok(Self {
            mean: gaussian.mean().to_vec(),
            shrinkage: covariance.product(&precision).symmetrised(),
            precision,
            constant: libm::log(weight) - 0.5 * (factor.log_determinant_from_factor() + d as f64 * LOG_TAU),
        })
    }
}
