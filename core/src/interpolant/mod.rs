//! Interpolants: how noise x0 and data x1 are mixed at time t, x_t = α_t x0 + β_t x1.
//!
//! t = 0 is noise, t = 1 is data: α_0 = β_1 = 1 and α_1 = β_0 = 0, with x0 ~ N(0, I).
//!
//! Source: Albergo, Boffi, Vanden-Eijnden, *Stochastic Interpolants* (2023), sections 2 and 3.

mod latent;
mod paths;
mod straight;

pub use latent::{Components, LatentScale, WithLatent};
pub use paths::{Linear, Trigonometric, VariancePreserving};
pub use straight::StraightStep;

use crate::error::{Error, Result};
use core::fmt::Debug;
use libm::{hypot, sqrt};

/// The values α, β of an interpolant at one time, with their time derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// α_t, the weight of the noise.
    pub alpha: f64,
    /// β_t, the weight of the data.
    pub beta: f64,
    /// dα/dt.
    pub alpha_dot: f64,
    /// dβ/dt.
    pub beta_dot: f64,
    /// α̇ α, finite at both ends, also where α̇ is not.
    pub noise_rate: f64,
}

impl Coefficients {
    /// β/α, the root of the signal-to-noise ratio, of which [`Interpolant::time_at`] is the inverse. Infinite at t = 1.
    pub fn ratio(&self) -> f64 {
        self.beta / self.alpha
    }

    /// κ = β̇ − α̇ β/α, by which the posterior mean enters the drift: b = (α̇/α) x + κ D. Infinite where α = 0.
    pub fn kappa(&self) -> f64 {
        self.beta_dot - self.alpha_dot * self.beta / self.alpha
    }

    /// σ²/2 = (β̇/β) α² − α̇ α, half the squared diffusion of the SDE that shares the interpolant's marginals
    /// at its own noise level. Infinite where β = 0.
    pub fn half_sigma_squared(&self) -> f64 {
        self.beta_dot / self.beta * self.alpha * self.alpha - self.noise_rate
    }

    /// The weights (of the drift, of the state) in the posterior mean D = (α b − α̇ x)/(α β̇ − α̇ β).
    pub fn posterior_mean_weights(&self) -> (f64, f64) {
        if self.alpha == 0.0 {
            return (0.0, 1.0 / self.beta);
        }
        let wronskian = self.wronskian();
        (self.alpha / wronskian, -self.alpha_dot / wronskian)
    }

    /// The weights (of the drift, of the state) in the score ∇log p_t = (β D − x)/α² = (β b − β̇ x)/(α (α β̇ − α̇ β)). Infinite where α = 0.
    pub fn score_weights(&self) -> (f64, f64) {
        let wronskian = self.scaled_wronskian();
        (self.beta / wronskian, -self.beta_dot / wronskian)
    }

    /// α β̇ − α̇ β.
    fn wronskian(&self) -> f64 {
        self.alpha * self.beta_dot - self.alpha_dot * self.beta
    }

    /// α (α β̇ − α̇ β), finite where α̇ is not.
    fn scaled_wronskian(&self) -> f64 {
        self.alpha * self.alpha * self.beta_dot - self.noise_rate * self.beta
    }
}

/// The Gaussian bridge q(x_u | x_t, x1) = N(`data` x1 + `state` x_t, `deviation`² I) between two times t ≤ u.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bridge {
    /// The weight of x1 in the mean.
    pub data: f64,
    /// The weight of x_t in the mean.
    pub state: f64,
    /// The standard deviation.
    pub deviation: f64,
}

/// The posterior velocity at times (s, t) in terms of one drift evaluation: with x* = `look_y` y + `look_x` x,
/// v_{s,s}(y; t, x) = `velocity_y` y + `velocity_x` x + `velocity_b` b_{t*}(x*).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PosteriorLook {
    /// t*, the time of the one look that is worth both.
    pub time: f64,
    /// The weight of y in x*.
    pub look_y: f64,
    /// The weight of x in x*.
    pub look_x: f64,
    /// The weight of y in the velocity.
    pub velocity_y: f64,
    /// The weight of x in the velocity.
    pub velocity_x: f64,
    /// The weight of the drift b_{t*}(x*) in the velocity.
    pub velocity_b: f64,
}

/// A path from noise to data with Gaussian noise.
///
/// Only [`coefficients`](Self::coefficients), [`time_at`](Self::time_at) and [`name`](Self::name) are required; override
/// [`look`](Self::look) where a shorter form is known.
pub trait Interpolant: Debug + Send + Sync {
    /// α_t, β_t and their derivatives at `t` in [0, 1].
    fn coefficients(&self, t: f64) -> Coefficients;

    /// The inverse of the signal-to-noise ratio: the time at which β/α = `ratio` (in [0, ∞]; the *root* of the
    /// signal-to-noise ratio, so that no precision is lost by squaring).
    fn time_at(&self, ratio: f64) -> f64;

    /// The time at which the linear path would be at `tau` in [0, 1]: the inverse of [`Coefficients::straight_time`].
    fn time_of_straight(&self, tau: f64) -> f64 {
        self.time_at(tau / (1.0 - tau))
    }

    /// The name that model files use.
    fn name(&self) -> &'static str;

    /// Two noisy looks at x1, y at time `s` and x at time `t`, as one: SNR(t*) = SNR(s) + SNR(t).
    ///
    /// v = (α̇_s/α_s) y + κ_s D_{t*}(x*), x*/α* = c y/α_s + k x/α_t, with r = hypot(β_s α_t, β_t α_s),
    /// c = β_s α_t/r and k = β_t α_s/r (c = 1, k = 0 where r = 0).
    ///
    /// This default never divides by α: with W = α β̇ − α̇ β and den = α_s α_t/α* = r/β*, and with (b, x) in place of D,
    /// v = (α_t W_s/(den W*)) b + ((α̇_s c β̇* − β̇_s α̇*)/W*) x* + (α̇_s α_s β_t/r²)(β_t y − β_s x), multiplied through by α* on a path
    /// whose α̇ is infinite at 1. It is singular only at s = t = 1.
    ///
    /// Source: Holderrieth et al., *GLASS Flows* (2025): independent Gaussian looks add their signal-to-noise ratios, and the law of x1
    /// given both is that given x*. The form that never divides by α is the library's own.
    fn look(&self, s: f64, t: f64) -> PosteriorLook {
        let (at_s, at_t) = (self.coefficients(s), self.coefficients(t));
        let two = TwoLooks::new(&at_s, &at_t);
        let product = at_s.alpha * at_t.alpha;
        let time = self.time_at(two.r / product);
        let star = self.coefficients(time);
        // The larger of the two keeps its precision.
        let per_den = if two.r > product { star.beta / two.r } else { star.alpha / product };
        let (look_y, look_x) = (two.c * at_t.alpha * per_den, two.k * at_s.alpha * per_den);
        let shrink = at_t.alpha * per_den;
        let (of_drift, of_star) = if self.coefficients(1.0).alpha_dot.is_finite() {
            let w = star.wronskian();
            (shrink * at_s.wronskian() / w, (at_s.alpha_dot * two.c * star.beta_dot - at_s.beta_dot * star.alpha_dot) / w)
        } else {
            let w = star.scaled_wronskian();
            let slopes = at_s.noise_rate * two.c * shrink * star.beta_dot - at_s.beta_dot * star.noise_rate;
            (shrink * shrink * at_s.scaled_wronskian() / w, slopes / w)
        };
        // Each over r by itself: at the earliest of times 1/r is infinite.
        let over = |beta: f64| if two.r > 0.0 { beta / two.r } else { 0.0 };
        let push = at_s.noise_rate * over(at_t.beta);
        PosteriorLook {
            time,
            look_y,
            look_x,
            velocity_y: of_star * look_y + push * over(at_t.beta),
            velocity_x: of_star * look_x - push * over(at_s.beta),
            velocity_b: of_drift,
        }
    }

    /// The bridge from time `t` to `u`: with ρ = β_t/β_u and q = α_t² − ρ² α_u², mean (q β_u x1 + ρ α_u² x_t)/α_t²
    /// and variance α_u² q/α_t².
    ///
    /// # Errors
    /// [`Error::Range`] unless 0 ≤ t ≤ u ≤ 1.
    fn bridge(&self, t: f64, u: f64) -> Result<Bridge> {
        check_time("the bridge's start", t)?;
        check_time("the bridge's end", u)?;
        if u < t {
            return Err(Error::Range { what: "the bridge's end", value: u, range: "no earlier than its start" });
        }
        if u == t {
            return Ok(Bridge { data: 0.0, state: 1.0, deviation: 0.0 });
        }
        let (at_t, at_u) = (self.coefficients(t), self.coefficients(u));
        let rho = at_t.beta / at_u.beta;
        // α_u/α_t, so that q/α_t² = 1 − (ρ α_u/α_t)² keeps its precision.
        let shrink = at_u.alpha / at_t.alpha;
        let fresh = (1.0 - rho * shrink) * (1.0 + rho * shrink);
        Ok(Bridge { data: fresh * at_u.beta, state: rho * shrink * shrink, deviation: at_u.alpha * sqrt(fresh.max(0.0)) })
    }
}

/// The geometry of two looks, shared by every path: r, c and k of [`Interpolant::look`].
struct TwoLooks {
    r: f64,
    c: f64,
    k: f64,
}

impl TwoLooks {
    fn new(at_s: &Coefficients, at_t: &Coefficients) -> Self {
        let (y, x) = (at_s.beta * at_t.alpha, at_t.beta * at_s.alpha);
        let r = hypot(y, x);
        if r > 0.0 { Self { r, c: y / r, k: x / r } } else { Self { r, c: 1.0, k: 0.0 } }
    }
}

/// The path that calls itself `name` ([`Interpolant::name`]).
pub fn by_name(name: &str) -> Option<&'static dyn Interpolant> {
    let all: [&'static dyn Interpolant; 3] = [&Linear, &Trigonometric, &VariancePreserving];
    all.into_iter().find(|path| path.name() == name)
}

/// Checks that a time lies in [0, 1].
///
/// # Errors
/// [`Error::Range`], naming `what`, if it does not (NaN included).
pub fn check_time(what: &'static str, t: f64) -> Result<()> {
    if (0.0..=1.0).contains(&t) { Ok(()) } else { Err(Error::Range { what, value: t, range: "between 0 and 1" }) }
}
