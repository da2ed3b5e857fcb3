//! An exact transport of noise to a mixture and back: the Knothe–Rosenblatt rearrangement in an orthonormal basis.
//!
//! In the coordinates z = E x of [`Axes`], with e = E ε, axis after axis: z_j is the quantile, at probability Φ(e_j), of the
//! mixture's conditional law of z_j given z_1 ... z_{j−1}. So ε ~ N(0, I) gives x ~ the mixture, exactly, and x gives ε back.
//! Conditioning needs no more than the Cholesky factors of E S_k Eᵀ: with u_k their whitened residuals, component k's
//! conditional mean is m_kj + Σ_{i<j} L_ji u_ki, its deviation L_jj, its weight ∝ w_k Π_{i<j} φ(u_ki)/L_ii.
//!
//! For collinear means with one shared isotropic covariance, as in the paper's toy, and for a single Gaussian, this is the flow
//! map of the posterior itself (a quantile map on the first axis and affine on the others): there the axes are independent, and a flow
//! in one dimension keeps the order of its points. Else it is one of the many maps with the right law.
//! Source: Rosenblatt, *Remarks on a multivariate transformation* (1952).

mod axes;
mod draw;
mod jacobian;
mod line;

pub use axes::Axes;
pub use draw::Draw;

use crate::at_time::AtTime;
use crate::check;
use crate::linear_algebra::{Matrix, apply};
use crate::mixture::GaussianMixture;
use crate::posterior::Posterior;
use mfm_core::interpolant::{Interpolant, check_time};
use mfm_core::{Error, Result};

/// The transport between N(0, I) and one mixture: a fixed one, or the posterior of a state, which can be exchanged cheaply
/// for another state's ([`condition`](Self::condition)).
///
/// Share it between threads, each with its own [`Draw`].
#[derive(Clone, Debug)]
pub struct Transport {
    dimension: usize,
    axes: Axes,
    /// L_k, K × d × d, lower: the factors of the covariances in the axes.
    factors: Vec<f64>,
    /// log L_jj, K × d.
    log_scales: Vec<f64>,
    /// log w_k and w_k.
    log_weights: Vec<f64>,
    weights: Vec<f64>,
    /// The means in the axes, K × d.
    centres: Vec<f64>,
    /// For one component, its mean and Eᵀ L E: the map is then affine.
    affine: Option<Affine>,
    /// How the law moves with the state, where it is a posterior.
    state: Option<State>,
}

#[derive(Clone, Debug)]
struct Affine {
    mean: Vec<f64>,
    linear: Matrix,
}

#[derive(Clone, Debug)]
struct State {
    /// β_s, by which the posterior's means enter.
    data_weight: f64,
    /// ∂(mean in the axes)/∂x_t, K × d × d.
    gains: Vec<f64>,
    /// ∂x/∂x_t of a single component, d × d.
    gain: Vec<f64>,
    /// ∇ log p(x_t | k), K × d.
    scores: Vec<f64>,
}

impl Transport {
    /// The transport to `mixture` along `axes`.
    ///
    /// # Errors
    /// [`Error::Length`] unless the dimensions agree; [`Error::Range`] where a covariance is singular to rounding.
    pub fn new(mixture: &GaussianMixture, axes: &Axes) -> Result<Self> {
        let covariances = mixture.components().iter().map(|c| c.covariance_matrix().clone());
        let mut transport = Self::with_covariances(mixture.dimension(), covariances, axes)?;
        let means: Vec<f64> = mixture.components().iter().flat_map(|c| c.mean().to_vec()).collect();
        transport.weights.copy_from_slice(mixture.weights());
        for (log_weight, weight) in transport.log_weights.iter_mut().zip(mixture.weights()) {
            *log_weight = libm::log(*weight);
        }
        transport.place(&means, 1.0);
        Ok(transport)
    }

    /// The transport to the law of I_s = α_s ε + β_s x1 with x1 from `posterior`, which `at` has made for one state; s = 1 is the
    /// posterior itself.
    ///
    /// # Errors
    /// [`Error::Length`] unless the dimensions agree; [`Error::Range`] unless 0 ≤ s ≤ 1, and where both times are 1: the law is
    /// then one point.
    pub fn of_posterior(at: &AtTime, posterior: &Posterior, axes: &Axes, path: &dyn Interpolant, s: f64) -> Result<Self> {
        check_time("the time of a transport", s)?;
        let (d, from, to) = (at.dimension(), at.coefficients(), path.coefficients(s));
        let spread = to.beta * to.beta * from.alpha * from.alpha;
        let noise = Matrix::diagonal(d, to.alpha * to.alpha);
        let mut transport = Self::with_covariances(d, at.shrinkages().map(|k| k.combine(spread, &noise, 1.0)), axes)?;
        let turned = |k: &Matrix| axes.matrix().product(k).scale(to.beta * from.beta).data().to_vec();
        let gains = at.shrinkages().flat_map(turned).collect();
        let gain = at.shrinkages().next().map_or_else(Vec::new, |k| k.scale(to.beta * from.beta).data().to_vec());
        transport.state = Some(State { data_weight: to.beta, gains, gain, scores: vec![0.0; at.components() * d] });
        transport.condition(posterior)?;
        Ok(transport)
    }

    /// Exchanges the state for another's `posterior` at the same time of the same mixture. Allocates nothing.
    ///
    /// # Errors
    /// [`Error::Length`] where the sizes do not fit; [`Error::Unsupported`] for the transport of a fixed mixture.
    pub fn condition(&mut self, posterior: &Posterior) -> Result<()> {
        check::length("a posterior's weights", self.weights.len(), posterior.weights.len())?;
        check::length("a posterior's means", self.centres.len(), posterior.means.len())?;
        let Some(state) = &mut self.state else {
            return Err(Error::Unsupported { op: "transport", what: "the law is a fixed mixture, not a posterior" });
        };
        state.scores.copy_from_slice(&posterior.component_scores);
        let data_weight = state.data_weight;
        self.weights.copy_from_slice(&posterior.weights);
        self.log_weights.copy_from_slice(&posterior.log_weights);
        self.place(&posterior.means, data_weight);
        Ok(())
    }

    /// d.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// K, the number of components.
    pub fn components(&self) -> usize {
        self.weights.len()
    }

    /// The axes, in their order.
    pub fn axes(&self) -> &Axes {
        &self.axes
    }

    fn with_covariances(dimension: usize, covariances: impl Iterator<Item = Matrix>, axes: &Axes) -> Result<Self> {
        check::length("the axes of a transport", dimension, axes.dimension())?;
        let (e, back) = (axes.matrix(), axes.matrix().transpose());
        let (mut factors, mut log_scales, mut affine, mut count) = (Vec::new(), Vec::new(), None, 0);
        for covariance in covariances {
            let turned = e.product(&covariance).product(&back).symmetrised();
            let (what, range) = ("the covariance of a transported law", "positive definite (two times below 1)");
            let factor = turned.cholesky().ok_or(Error::Range { what, value: turned.at(0, 0), range })?;
            factors.extend_from_slice(factor.data());
            log_scales.extend((0..dimension).map(|j| libm::log(factor.at(j, j))));
            count += 1;
            affine = (count == 1).then(|| Affine { mean: vec![0.0; dimension], linear: back.product(&factor).product(e) });
        }
        let axes = axes.clone();
        let (weights, log_weights, centres) = (vec![1.0; count], vec![0.0; count], vec![0.0; count * dimension]);
        Ok(Self { dimension, axes, factors, log_scales, log_weights, weights, centres, affine, state: None })
    }

    /// Sets the means: `scale` times `means`.
    fn place(&mut self, means: &[f64], scale: f64) {
        let d = self.dimension;
        for (mean, centre) in means.chunks_exact(d).zip(self.centres.chunks_exact_mut(d)) {
            apply(self.axes.rows(), mean, centre);
            centre.iter_mut().for_each(|c| *c *= scale);
        }
        if let Some(affine) = &mut self.affine {
            for (out, mean) in affine.mean.iter_mut().zip(means) {
                *out = scale * mean;
            }
        }
    }

    /// Row j of L_k up to its diagonal, exclusive, and the diagonal entry.
    fn factor_row(&self, k: usize, j: usize) -> (&[f64], f64) {
        let start = (k * self.dimension + j) * self.dimension;
        (&self.factors[start..start + j], self.factors[start + j])
    }
}
