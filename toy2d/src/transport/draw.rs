//! The two directions of a transport.

use super::Transport;
use super::line::{Goal, Line, Tail};
use crate::check;
use crate::linear_algebra::{add_transposed, apply, dot};
use crate::normal;
use mfm_core::Result;

/// One point of a transport: its noise ε, its image x, and what the Jacobians need. Reused from draw to draw.
#[derive(Clone, Debug)]
pub struct Draw {
    pub(super) noise: Vec<f64>,
    pub(super) point: Vec<f64>,
    /// e and z: noise and point in the axes.
    pub(super) turned_noise: Vec<f64>,
    pub(super) turned_point: Vec<f64>,
    /// u_ki, K × d.
    pub(super) whitened: Vec<f64>,
    /// By axis, d × K: the conditional weights, and the components' tails and densities.
    pub(super) weights: Vec<f64>,
    pub(super) tails: Vec<f64>,
    pub(super) densities: Vec<f64>,
    /// By axis: the side of the tail, the law's tail, and φ(e) in the tail's units.
    pub(super) signs: Vec<f64>,
    pub(super) laws: Vec<Tail>,
    pub(super) noise_densities: Vec<f64>,
    /// By component, at the axis in hand.
    log_weights: Vec<f64>,
    centres: Vec<f64>,
    scales: Vec<f64>,
    /// Tangents, for the Jacobians: of log weights (K), u (K × d), z (d), and the conditional means (K).
    pub(super) weight_tangents: Vec<f64>,
    pub(super) whitened_tangents: Vec<f64>,
    pub(super) point_tangent: Vec<f64>,
    pub(super) centre_tangents: Vec<f64>,
}

impl Draw {
    /// Room for the draws of `transport`, and of any other with as many dimensions and components.
    pub fn new(transport: &Transport) -> Self {
        let (d, k) = (transport.dimension(), transport.components());
        let zeros = |n: usize| vec![0.0; n];
        Self {
            noise: zeros(d),
            point: zeros(d),
            turned_noise: zeros(d),
            turned_point: zeros(d),
            whitened: zeros(k * d),
            weights: zeros(k * d),
            tails: zeros(k * d),
            densities: zeros(k * d),
            signs: zeros(d),
            laws: vec![Tail::default(); d],
            noise_densities: zeros(d),
            log_weights: zeros(k),
            centres: zeros(k),
            scales: zeros(k),
            weight_tangents: zeros(k),
            whitened_tangents: zeros(k * d),
            point_tangent: zeros(d),
            centre_tangents: zeros(k),
        }
    }

    /// ε, d numbers.
    pub fn noise(&self) -> &[f64] {
        &self.noise
    }

    /// x, d numbers.
    pub fn point(&self) -> &[f64] {
        &self.point
    }
}

impl Transport {
    /// x from ε = `noise`, d numbers: both are then in `draw`. Exact to about 1e-14 in the noise, at any distance.
    ///
    /// # Errors
    /// [`Error::Length`](mfm_core::Error::Length) where sizes do not fit, [`Error::NonFinite`](mfm_core::Error::NonFinite).
    pub fn from_noise(&self, noise: &[f64], draw: &mut Draw) -> Result<()> {
        self.check(noise, "the noise of a transport", draw)?;
        draw.noise.copy_from_slice(noise);
        if let Some(affine) = &self.affine {
            affine.linear.apply(noise, &mut draw.point);
            draw.point.iter_mut().zip(&affine.mean).for_each(|(x, m)| *x += m);
            return Ok(());
        }
        apply(self.axes.rows(), noise, &mut draw.turned_noise);
        draw.log_weights.copy_from_slice(&self.log_weights);
        for j in 0..self.dimension {
            self.prepare(j, draw);
            let e = draw.turned_noise[j];
            let z = draw.solve_point(j, e);
            self.whiten(j, z, draw);
        }
        draw.point.fill(0.0);
        add_transposed(1.0, self.axes.rows(), &draw.turned_point, &mut draw.point);
        check::finite("a transported point", &draw.point)
    }

    /// ε from x = `point`, d numbers: both are then in `draw`. The inverse of [`from_noise`](Self::from_noise).
    ///
    /// # Errors
    /// As for [`from_noise`](Self::from_noise).
    pub fn to_noise(&self, point: &[f64], draw: &mut Draw) -> Result<()> {
        self.check(point, "the point of a transport", draw)?;
        draw.point.copy_from_slice(point);
        apply(self.axes.rows(), point, &mut draw.turned_point);
        draw.log_weights.copy_from_slice(&self.log_weights);
        for j in 0..self.dimension {
            self.prepare(j, draw);
            let z = draw.turned_point[j];
            self.whiten(j, z, draw);
            draw.turned_noise[j] = if self.affine.is_some() { draw.whitened[j] } else { draw.solve_noise(j, z) };
        }
        draw.noise.fill(0.0);
        add_transposed(1.0, self.axes.rows(), &draw.turned_noise, &mut draw.noise);
        check::finite("the noise of a transported point", &draw.noise)
    }

    pub(super) fn check(&self, values: &[f64], what: &'static str, draw: &Draw) -> Result<()> {
        check::length(what, self.dimension, values.len())?;
        self.check_draw(draw)?;
        check::finite(what, values)
    }

    pub(super) fn check_draw(&self, draw: &Draw) -> Result<()> {
        check::length("the dimension of a draw", self.dimension, draw.noise.len())?;
        check::length("the components of a draw", self.components(), draw.centres.len())
    }

    /// The conditional law of axis `j` given those before it.
    fn prepare(&self, j: usize, draw: &mut Draw) {
        let (d, components) = (self.dimension, self.components());
        for k in 0..components {
            let (row, scale) = self.factor_row(k, j);
            draw.centres[k] = self.centres[k * d + j] + dot(row, &draw.whitened[k * d..k * d + j]);
            draw.scales[k] = scale;
        }
        let weights = &mut draw.weights[j * components..(j + 1) * components];
        if j == 0 {
            weights.copy_from_slice(&self.weights);
            return;
        }
        let largest = draw.log_weights.iter().fold(f64::NEG_INFINITY, |a, w| a.max(*w));
        let mut total = 0.0;
        for (weight, log_weight) in weights.iter_mut().zip(&draw.log_weights) {
            *weight = libm::exp(log_weight - largest);
            total += *weight;
        }
        weights.iter_mut().for_each(|w| *w /= total);
    }

    /// Fixes axis `j` at `z`: the residuals, and what they say about the component.
    fn whiten(&self, j: usize, z: f64, draw: &mut Draw) {
        draw.turned_point[j] = z;
        for k in 0..self.components() {
            let u = (z - draw.centres[k]) / draw.scales[k];
            draw.whitened[k * self.dimension + j] = u;
            draw.log_weights[k] -= 0.5 * u * u + self.log_scales[k * self.dimension + j];
        }
    }
}

impl Draw {
    /// z_j from e_j: F(z) = Φ(e), on the side of the smaller tail.
    fn solve_point(&mut self, j: usize, e: f64) -> f64 {
        let k = self.centres.len();
        let axis = j * k..(j + 1) * k;
        let line = Line { weights: &self.weights[axis.clone()], centres: &self.centres, scales: &self.scales };
        // Where every component is at or below its own quantile, so is the mixture: these bracket the root.
        let (mut low, mut high, mut mean, mut square) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0.0);
        for ((weight, centre), scale) in line.weights.iter().zip(line.centres).zip(line.scales) {
            if *weight > 0.0 {
                let own = centre + scale * e;
                (low, high) = (low.min(own), high.max(own));
                mean += weight * centre;
                square += weight * (centre * centre + scale * scale);
            }
        }
        let start = mean + (square - mean * mean).max(0.0).sqrt() * e;
        let sign = if e <= 0.0 { 1.0 } else { -1.0 };
        let goal = Goal { sign, log_target: normal::log_cdf(-e.abs()), low, high, start };
        let (z, law) = line.invert(goal, &mut self.tails[axis.clone()], &mut self.densities[axis]);
        self.record(j, sign, law, e);
        z
    }

    /// e_j from z_j.
    fn solve_noise(&mut self, j: usize, z: f64) -> f64 {
        let k = self.centres.len();
        let axis = j * k..(j + 1) * k;
        let line = Line { weights: &self.weights[axis.clone()], centres: &self.centres, scales: &self.scales };
        let (mut low, mut high, mut start) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
        for ((weight, centre), scale) in line.weights.iter().zip(line.centres).zip(line.scales) {
            if *weight > 0.0 {
                let own = (z - centre) / scale;
                (low, high, start) = (low.min(own), high.max(own), start + weight * own);
            }
        }
        let (sign, law) = line.smaller_tail(z, &mut self.tails[axis.clone()], &mut self.densities[axis]);
        let normal = Line { weights: &[1.0], centres: &[0.0], scales: &[1.0] };
        let goal = Goal { sign, log_target: law.log(), low, high, start };
        let (e, _) = normal.invert(goal, &mut [0.0], &mut [0.0]);
        self.record(j, sign, law, e);
        e
    }

    fn record(&mut self, j: usize, sign: f64, law: Tail, e: f64) {
        self.signs[j] = sign;
        self.laws[j] = law;
        let shifted = if law.log_unit == 0.0 { -0.5 * e * e } else { -0.5 * e * e - law.log_unit };
        self.noise_densities[j] = normal::DENSITY_AT_ZERO * libm::exp(shifted);
    }
}
