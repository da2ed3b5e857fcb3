//! Every path as the straight one: with c = α + β, y = x/c and τ = β/c, y = (1 − τ) x0 + τ x1 is the linear path at another time, and x1 has the same posterior.
//!
//! Equations are integrated in y and τ, so that a step errs on any path as it does on that one, also where α̇ is infinite at t = 1.

use super::{Coefficients, Interpolant};
use libm::{log1p, sqrt};

impl Coefficients {
    /// τ = β/(α + β), the time at which the linear path has the same signal-to-noise ratio.
    pub fn straight_time(&self) -> f64 {
        self.beta / self.straight_scale()
    }

    /// The weights (of dx/dt, of x) in dy/dτ = (c dx/dt − ċ x)/W, where W = α β̇ − α̇ β; for the linear path 1 and 0. Not for t = 1, where they may be 0/0.
    pub fn straight_weights(&self) -> (f64, f64) {
        let wronskian = self.wronskian();
        (self.straight_scale() / wronskian, -(self.alpha_dot + self.beta_dot) / wronskian)
    }

    /// c = α + β.
    fn straight_scale(&self) -> f64 {
        self.alpha + self.beta
    }
}

/// A step from time t to time u along the straight path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StraightStep {
    /// c_u/c_t, the weight of x_t in x_u.
    pub state: f64,
    /// c_u (τ_u − τ_t), the weight of dy/dτ.
    pub slope: f64,
    /// c_u √(2 (τ_u − τ_t)(1 − τ_t)/τ_t), the deviation of the noise that an Euler–Maruyama step of the SDE adds, as its rate is at the start. Infinite from t = 0.
    pub deviation: f64,
}

impl StraightStep {
    /// The step of a path from `t` to `u`.
    pub fn new(path: &dyn Interpolant, t: f64, u: f64) -> Self {
        let (from, to) = (path.coefficients(t), path.coefficients(u));
        let (scale, span) = (to.straight_scale(), to.straight_time() - from.straight_time());
        // (1 − τ)/τ = α/β.
        let deviation = scale * sqrt(2.0 * span * from.alpha / from.beta);
        Self { state: scale / from.straight_scale(), slope: scale * span, deviation }
    }

    /// c_u √(2 (ln(τ_u/τ_t) − (τ_u − τ_t))), the deviation of all the noise on the way, ∫ 2(1 − τ)/τ dτ, as a Heun step of the SDE adds it. (In Euler–Maruyama's the surplus
    /// at the start makes up for most of what its drift leaves out.) Infinite from t = 0.
    pub fn whole_deviation(path: &dyn Interpolant, t: f64, u: f64) -> f64 {
        let (from, to) = (path.coefficients(t).straight_time(), path.coefficients(u));
        let span = to.straight_time() - from;
        to.straight_scale() * sqrt((2.0 * (log1p(span / from) - span)).max(0.0))
    }
}
