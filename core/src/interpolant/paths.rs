//! The three paths that the library knows in closed form, each with a posterior velocity free of cancellation.

use super::{Coefficients, Interpolant, PosteriorLook, TwoLooks};
use core::f64::consts::FRAC_PI_2;
use libm::{atan, cos, hypot, sin, sqrt};

/// α = 1 − t, β = t: straight lines (rectified flow). κ = 1/(1−t), σ²/2 = (1−t)/t.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Linear;

impl Interpolant for Linear {
    fn coefficients(&self, t: f64) -> Coefficients {
        Coefficients { alpha: 1.0 - t, beta: t, alpha_dot: -1.0, beta_dot: 1.0, noise_rate: t - 1.0 }
    }

    fn time_at(&self, ratio: f64) -> f64 {
        if ratio.is_infinite() { 1.0 } else { ratio / (1.0 + ratio) }
    }

    fn time_of_straight(&self, tau: f64) -> f64 {
        tau
    }

    fn name(&self) -> &'static str {
        "linear"
    }

    /// With den = r + (1−s)(1−t): t* = r/den, x* = (c(1−t) y + k(1−s) x)/den,
    /// v = {[(1−t)(c−1) − t k] y + k x + (1−t) b}/den. Singular only at s = t = 1.
    fn look(&self, s: f64, t: f64) -> PosteriorLook {
        let TwoLooks { r, c, k } = TwoLooks::new(&self.coefficients(s), &self.coefficients(t));
        let den = r + (1.0 - s) * (1.0 - t);
        // c − 1 = −k²/(1 + c), because c² + k² = 1.
        let c_minus_one = -k * k / (1.0 + c);
        PosteriorLook {
            time: r / den,
            look_y: c * (1.0 - t) / den,
            look_x: k * (1.0 - s) / den,
            velocity_y: ((1.0 - t) * c_minus_one - t * k) / den,
            velocity_x: k / den,
            velocity_b: (1.0 - t) / den,
        }
    }
}

/// α = cos(πt/2), β = sin(πt/2). κ = (π/2)/cos(πt/2), σ²/2 = (π/2) cot(πt/2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Trigonometric;

impl Interpolant for Trigonometric {
    fn coefficients(&self, t: f64) -> Coefficients {
        // The nearer end decides, so that α_1 = 0 exactly.
        let (alpha, beta) =
            if t <= 0.5 { (cos(FRAC_PI_2 * t), sin(FRAC_PI_2 * t)) } else { (sin(FRAC_PI_2 * (1.0 - t)), cos(FRAC_PI_2 * (1.0 - t))) };
        Coefficients { alpha, beta, alpha_dot: -FRAC_PI_2 * beta, beta_dot: FRAC_PI_2 * alpha, noise_rate: -FRAC_PI_2 * alpha * beta }
    }

    fn time_at(&self, ratio: f64) -> f64 {
        atan(ratio) / FRAC_PI_2
    }

    fn name(&self) -> &'static str {
        "trigonometric"
    }

    /// With den² = (α_s α_t)² + r²: x* = (c α_t y + k α_s x)/den and
    /// v = (π/2)(−α_s β_s β_t² y + α_s β_t x)/den² + (α_t/den) b. Singular only at s = t = 1.
    fn look(&self, s: f64, t: f64) -> PosteriorLook {
        let (at_s, at_t) = (self.coefficients(s), self.coefficients(t));
        let two = TwoLooks::new(&at_s, &at_t);
        let den = hypot(at_s.alpha * at_t.alpha, two.r);
        let pull = FRAC_PI_2 * at_s.alpha * at_t.beta / (den * den);
        PosteriorLook {
            time: libm::atan2(two.r, at_s.alpha * at_t.alpha) / FRAC_PI_2,
            look_y: two.c * at_t.alpha / den,
            look_x: two.k * at_s.alpha / den,
            velocity_y: -pull * at_s.beta * at_t.beta,
            velocity_x: pull,
            velocity_b: at_t.alpha / den,
        }
    }
}

/// α = √(1 − t²), β = t: the variance-preserving path in its data coefficient. κ = 1/(1−t²), σ²/2 = 1/t.
///
/// α̇ is infinite at t = 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VariancePreserving;

impl Interpolant for VariancePreserving {
    fn coefficients(&self, t: f64) -> Coefficients {
        let alpha = sqrt((1.0 - t) * (1.0 + t));
        Coefficients { alpha, beta: t, alpha_dot: -t / alpha, beta_dot: 1.0, noise_rate: -t }
    }

    fn time_at(&self, ratio: f64) -> f64 {
        if ratio.is_infinite() { 1.0 } else { ratio / hypot(1.0, ratio) }
    }

    fn name(&self) -> &'static str {
        "variance-preserving"
    }

    /// With den² = (α_s α_t)² + r²: x* = (c α_t y + k α_s x)/den and
    /// v = (−β_s β_t² y + β_t x + α_t² b)/den². Singular only at s = t = 1.
    fn look(&self, s: f64, t: f64) -> PosteriorLook {
        let (at_s, at_t) = (self.coefficients(s), self.coefficients(t));
        let two = TwoLooks::new(&at_s, &at_t);
        let den = hypot(at_s.alpha * at_t.alpha, two.r);
        let per_den = 1.0 / (den * den);
        PosteriorLook {
            time: two.r / den,
            look_y: two.c * at_t.alpha / den,
            look_x: two.k * at_s.alpha / den,
            velocity_y: -at_s.beta * at_t.beta * at_t.beta * per_den,
            velocity_x: at_t.beta * per_den,
            velocity_b: at_t.alpha * at_t.alpha * per_den,
        }
    }
}
