//! Random linear-Gaussian inverse problems: y = A x + σ ε, with x from a Gaussian or a mixture, in any dimension.

use crate::check;
use crate::gaussian::Gaussian;
use crate::linear_algebra::{Matrix, apply};
use crate::mixture::GaussianMixture;
use crate::reward::QuadraticReward;
use mfm_core::{Error, Noise, Result};

/// What kind of problem to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InverseProblemSpec {
    /// d ≥ 1, the dimension of x.
    pub dimension: usize,
    /// m ≥ 1, the number of observations.
    pub observations: usize,
    /// σ > 0, the noise of an observation.
    pub sigma: f64,
    /// K ≥ 1. One component is N(0, I). More have equal weights, means from N(0, 4 I), and covariances W Wᵀ/(4d) + I/4 with W a
    /// d × d matrix of standard normals.
    pub components: usize,
    /// The seed of everything that is random.
    pub seed: u64,
}

/// A prior and a reward; the tilted target [`tilt`](crate::tilt)`(prior, reward)` is the posterior of x given y.
#[derive(Clone, Debug, PartialEq)]
pub struct InverseProblem {
    /// The law of x.
    pub prior: GaussianMixture,
    /// −|y − A x|²/(2σ²).
    pub reward: QuadraticReward,
    /// A, row-major m × d, with entries from N(0, 1/d).
    pub operator: Vec<f64>,
    /// y, m numbers.
    pub observed: Vec<f64>,
    /// The x that y is an observation of, d numbers.
    pub truth: Vec<f64>,
}

impl InverseProblemSpec {
    /// The problem: a pure function of these numbers.
    ///
    /// # Errors
    /// [`Error::Range`] unless all counts are positive and σ is positive and finite, [`Error::TooLarge`] or
    /// [`Error::OutOfMemory`] where d × d or m × d numbers cannot be held.
    pub fn generate(&self) -> Result<InverseProblem> {
        let (d, m) = (self.dimension, self.observations);
        for (what, count) in [("the dimension", d), ("the number of observations", m), ("the number of components", self.components)] {
            if count == 0 {
                return Err(Error::Range { what, value: 0.0, range: "at least 1" });
            }
        }
        check::positive("the noise of an observation", self.sigma)?;
        let noise = Noise::new(self.seed);
        let prior = self.prior(&noise.fork(0))?;
        let mut operator = check::zeros("the operator of an inverse problem", m, d)?;
        noise.fork(1).fill_normal(&mut operator);
        let scale = 1.0 / (d as f64).sqrt();
        operator.iter_mut().for_each(|a| *a *= scale);
        let truth = prior.sample(1, &noise.fork(2))?;
        let (mut errors, mut observed) = (vec![0.0; m], vec![0.0; m]);
        noise.fork(3).fill_normal(&mut errors);
        apply(&operator, &truth, &mut observed);
        observed.iter_mut().zip(&errors).for_each(|(y, e)| *y += self.sigma * e);
        let reward = QuadraticReward::observation(&operator, &observed, self.sigma)?;
        Ok(InverseProblem { prior, reward, operator, observed, truth })
    }

    fn prior(&self, noise: &Noise) -> Result<GaussianMixture> {
        let d = self.dimension;
        check::room("the covariances of an inverse problem", &[self.components, d, d])?;
        if self.components == 1 {
            return GaussianMixture::new(&[1.0], vec![Gaussian::isotropic(&vec![0.0; d], 1.0)?]);
        }
        let component = |k: usize| {
            let noise = noise.fork(k as u64);
            let mut mean = vec![0.0; d];
            noise.fill_normal(&mut mean);
            mean.iter_mut().for_each(|m| *m *= 2.0);
            let mut entries = check::zeros("the covariance of an inverse problem", d, d)?;
            noise.stream(1).fill_normal(&mut entries);
            let factor = Matrix::new(d, entries);
            let product = factor.product(&factor.transpose()).symmetrised();
            Gaussian::from_matrix(mean, product.combine(0.25 / d as f64, &Matrix::diagonal(d, 1.0), 0.25))
        };
        let components = (0..self.components).map(component).collect::<Result<Vec<_>>>()?;
        GaussianMixture::new(&vec![1.0; self.components], components)
    }
}
