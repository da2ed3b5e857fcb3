//! The general stochastic interpolant with a latent, I = α x0 + β x1 + γ z.

use super::{Coefficients, Interpolant};
use libm::{hypot, sqrt};

/// γ_t = a √(2 t (1 − t)), the usual scale of the latent, zero at both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatentScale(
    /// a ≥ 0.
    pub f64,
);

/// The three weights of I = α x0 + β x1 + γ z, with their time derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Components {
    /// α and β, with their derivatives.
    pub path: Coefficients,
    /// γ.
    pub gamma: f64,
    /// dγ/dt; infinite at both ends unless a = 0.
    pub gamma_dot: f64,
}

/// An interpolant with a latent z ~ N(0, I) beside x0 and x1.
///
/// The drift is b = E[İ | x], the score −E[z | x]/γ, and dX = (b + ε score) dt + √(2ε) dW has the same marginals for every
/// ε ≥ 0 (*Stochastic Interpolants*, theorems 2.6 to 2.8). Where x0 ~ N(0, I) too, α x0 + γ z is one Gaussian of
/// deviation √(α² + γ²): seen as an [`Interpolant`], that is the noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WithLatent<I> {
    /// The path of x0 and x1.
    pub path: I,
    /// The scale of z.
    pub latent: LatentScale,
}

impl<I: Interpolant> WithLatent<I> {
    /// All three weights at `t` in [0, 1].
    pub fn components(&self, t: f64) -> Components {
        let a = self.latent.0;
        let root = sqrt(2.0 * t * (1.0 - t));
        let gamma_dot = if a == 0.0 { 0.0 } else { a * (1.0 - 2.0 * t) / root };
        Components { path: self.path.coefficients(t), gamma: a * root, gamma_dot }
    }
}

impl<I: Interpolant> Interpolant for WithLatent<I> {
    fn coefficients(&self, t: f64) -> Coefficients {
        let path = self.path.coefficients(t);
        let a = self.latent.0;
        if a == 0.0 {
            return path;
        }
        let alpha = hypot(path.alpha, a * sqrt(2.0 * t * (1.0 - t)));
        // d/dt (α² + γ²)/2 = α α̇ + a² (1 − 2t).
        let noise_rate = path.noise_rate + a * a * (1.0 - 2.0 * t);
        Coefficients { alpha, alpha_dot: noise_rate / alpha, noise_rate, ..path }
    }

    /// By bisection: β/√(α² + γ²) must rise with t, as it does on the linear path for every a.
    fn time_at(&self, ratio: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            let at = self.coefficients(middle);
            if at.beta < ratio * at.alpha { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    fn name(&self) -> &'static str {
        if self.latent.0 == 0.0 { self.path.name() } else { "with a latent" }
    }
}
