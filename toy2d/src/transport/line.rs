//! Mixtures on the line: their distribution function, and its inverse.

use crate::normal::{self, DENSITY_AT_ZERO};
use core::f64::consts::FRAC_1_SQRT_2;

/// Below this log probability, tails are computed in logarithms: f64 would soon underflow.
const FAR: f64 = -600.0;

/// Σ_k w_k N(c_k, s_k²).
pub(super) struct Line<'a> {
    pub(super) weights: &'a [f64],
    pub(super) centres: &'a [f64],
    pub(super) scales: &'a [f64],
}

/// The smaller tail of a law at one point: the lower one where `sign` is 1, the upper one where it is −1.
///
/// All of it is in units of exp(`log_unit`), zero but in the far tails.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tail {
    /// F or 1 − F.
    pub(super) probability: f64,
    /// The density f ≥ 0.
    pub(super) density: f64,
    /// f′.
    pub(super) slope: f64,
    pub(super) log_unit: f64,
}

impl Tail {
    /// The log probability.
    pub(super) fn log(&self) -> f64 {
        libm::log(self.probability) + self.log_unit
    }
}

impl Line<'_> {
    /// The tail at `z`; each component's own tail and density go to `tails` and `densities`, in the same units.
    pub(super) fn tail(&self, z: f64, sign: f64, tails: &mut [f64], densities: &mut [f64]) -> Tail {
        let mut sum = Tail::default();
        let outs = tails.iter_mut().zip(densities);
        for (((weight, centre), scale), (tail, density)) in self.weights.iter().zip(self.centres).zip(self.scales).zip(outs) {
            let inverse = 1.0 / scale;
            let u = (z - centre) * inverse;
            *tail = 0.5 * libm::erfc(-sign * u * FRAC_1_SQRT_2);
            *density = DENSITY_AT_ZERO * libm::exp(-0.5 * u * u) * inverse;
            sum.probability += weight * *tail;
            sum.density += weight * *density;
            sum.slope -= weight * *density * u * inverse;
        }
        sum
    }

    /// The same in units of the largest component's tail.
    fn far_tail(&self, z: f64, sign: f64, tails: &mut [f64], densities: &mut [f64]) -> Tail {
        let mut sum = Tail { log_unit: f64::NEG_INFINITY, ..Tail::default() };
        let parts = || self.weights.iter().zip(self.centres).zip(self.scales).map(|((w, c), s)| (*w, (z - c) / s, *s));
        for (tail, (weight, u, _)) in tails.iter_mut().zip(parts()) {
            *tail = normal::log_cdf(sign * u);
            if weight > 0.0 {
                sum.log_unit = sum.log_unit.max(*tail);
            }
        }
        for ((tail, density), (weight, u, scale)) in tails.iter_mut().zip(densities).zip(parts()) {
            *tail = libm::exp((*tail - sum.log_unit).min(700.0));
            *density = libm::exp((-0.5 * u * u - sum.log_unit).min(700.0)) * DENSITY_AT_ZERO / scale;
            if weight > 0.0 {
                sum.probability += weight * *tail;
                sum.density += weight * *density;
                sum.slope -= weight * *density * u / scale;
            }
        }
        sum
    }

    /// The tail at `z` on its smaller side, with that side's sign.
    pub(super) fn smaller_tail(&self, z: f64, tails: &mut [f64], densities: &mut [f64]) -> (f64, Tail) {
        let mut sign = 1.0;
        let mut tail = self.tail(z, sign, tails, densities);
        if tail.probability > 0.5 {
            sign = -1.0;
            tail = self.tail(z, sign, tails, densities);
        }
        // exp(FAR), the least probability that is not far.
        if tail.probability < 2.65e-261 {
            tail = self.far_tail(z, sign, tails, densities);
        }
        (sign, tail)
    }

    /// The z between `low` and `high` at which the tail on the side `sign` has log probability `log_target`, and the tail there.
    ///
    /// Halley's iteration on the logarithm of the tail, which is nearly quadratic in z far out and nearly linear in the middle;
    /// bisection where a step leaves the bracket, and now and then, so that it always ends.
    pub(super) fn invert(&self, goal: Goal, tails: &mut [f64], densities: &mut [f64]) -> (f64, Tail) {
        let Goal { sign, log_target, mut low, mut high, start } = goal;
        let far = log_target < FAR;
        let target = libm::exp(log_target);
        // Rounding of u moves log F by about u² roundoffs, and u² is about −2 log F.
        let tolerance = 4e-15 * (1.0 - 2.0 * log_target);
        // Not `clamp`, which panics for NaN.
        let (mut z, mut tail) = (start.max(low).min(high), Tail::default());
        for round in 1..=200 {
            tail = if far { self.far_tail(z, sign, tails, densities) } else { self.tail(z, sign, tails, densities) };
            let excess = if far { tail.log() - log_target } else { log_ratio(tail.probability, target) };
            if excess.abs() <= tolerance {
                break;
            }
            if (excess > 0.0) == (sign > 0.0) {
                high = z
            } else {
                low = z
            }
            let newton = excess * tail.probability / (sign * tail.density);
            let bend = sign * tail.slope * tail.probability / (tail.density * tail.density) - 1.0;
            let mut next = z - newton / (1.0 - 0.5 * excess * bend).clamp(0.5, 2.0);
            // NaN fails the first test, as it should.
            if !(next > low && next < high) || (round > 8 && round % 3 == 0) {
                next = 0.5 * (low + high);
            }
            if (next - z).abs() <= 2.0 * f64::EPSILON * z.abs() || next == low || next == high {
                break;
            }
            z = next;
        }
        (z, tail)
    }
}

/// What [`Line::invert`] is to find, and where.
pub(super) struct Goal {
    pub(super) sign: f64,
    pub(super) log_target: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) start: f64,
}

/// log(p/q), precise where they are close.
fn log_ratio(p: f64, q: f64) -> f64 {
    let relative = (p - q) / q;
    if relative.abs() < 0.5 { libm::log1p(relative) } else { libm::log(p / q) }
}
