//! The derivatives of a transport, by differentiating F_j(z_j | z_{<j}) = Φ(e_j) implicitly, axis after axis.

use super::{Draw, Transport};
use crate::check;
use crate::linear_algebra::dot;
use mfm_core::{Error, Result};

impl Transport {
    /// ∂x/∂ε at `draw`, which this transport has filled (in either direction), row-major d × d: row i holds ∂x_i.
    ///
    /// # Errors
    /// [`Error::Length`] where the sizes do not fit.
    pub fn noise_jacobian(&self, draw: &mut Draw, out: &mut [f64]) -> Result<()> {
        self.check_jacobian(draw, out)?;
        if let Some(affine) = &self.affine {
            out.copy_from_slice(affine.linear.data());
            return Ok(());
        }
        for direction in 0..self.dimension {
            self.tangent(draw, direction, false);
            self.write_column(draw, direction, out);
        }
        Ok(())
    }

    /// ∂x/∂x_t at `draw` with its noise held, row-major d × d: how the draw moves with the state through the posterior's weights
    /// and means.
    ///
    /// # Errors
    /// [`Error::Length`] where the sizes do not fit; [`Error::Independent`] for the transport of a fixed mixture.
    pub fn state_jacobian(&self, draw: &mut Draw, out: &mut [f64]) -> Result<()> {
        self.check_jacobian(draw, out)?;
        let Some(state) = &self.state else {
            return Err(Error::Independent { op: "the state's Jacobian of a transport" });
        };
        if self.affine.is_some() {
            out.copy_from_slice(&state.gain);
            return Ok(());
        }
        for direction in 0..self.dimension {
            self.tangent(draw, direction, true);
            self.write_column(draw, direction, out);
        }
        Ok(())
    }

    fn check_jacobian(&self, draw: &Draw, out: &[f64]) -> Result<()> {
        self.check_draw(draw)?;
        check::length("the Jacobian of a transport", self.dimension * self.dimension, out.len())
    }

    /// The tangent of z along coordinate `direction` of the state or of the noise, into `draw.point_tangent`.
    ///
    /// With a_k the tangent of the conditional log weights and ċ_k that of the conditional means:
    /// f ż = φ(e) ė − Σ w_k a_k (F_k − F) + Σ w_k f_k ċ_k.
    fn tangent(&self, draw: &mut Draw, direction: usize, by_state: bool) {
        let (d, components) = (self.dimension, self.components());
        let state = self.state.as_ref().filter(|_| by_state);
        for (k, tangent) in draw.weight_tangents.iter_mut().enumerate() {
            *tangent = state.map_or(0.0, |s| s.scores[k * d + direction]);
        }
        for j in 0..d {
            let axis = j * components;
            let (sign, law) = (draw.signs[j], draw.laws[j]);
            let turned = if by_state { 0.0 } else { self.axes.rows()[j * d + direction] };
            let mut flux = draw.noise_densities[j] * turned;
            for k in 0..components {
                let (row, _) = self.factor_row(k, j);
                let gain = state.map_or(0.0, |s| s.gains[(k * d + j) * d + direction]);
                let centre = gain + dot(row, &draw.whitened_tangents[k * d..k * d + j]);
                draw.centre_tangents[k] = centre;
                let weight = draw.weights[axis + k];
                // A component that has underflowed moves nothing, however far its own terms have run.
                if weight > 0.0 {
                    let tail = sign * draw.weight_tangents[k] * (draw.tails[axis + k] - law.probability);
                    flux += weight * (draw.densities[axis + k] * centre - tail);
                }
            }
            let tangent = flux / law.density;
            draw.point_tangent[j] = tangent;
            for k in 0..components {
                let (_, scale) = self.factor_row(k, j);
                let whitened = (tangent - draw.centre_tangents[k]) / scale;
                draw.whitened_tangents[k * d + j] = whitened;
                draw.weight_tangents[k] -= draw.whitened[k * d + j] * whitened;
            }
        }
    }

    /// Turns the tangent of z back, into one column of a Jacobian.
    fn write_column(&self, draw: &Draw, column: usize, out: &mut [f64]) {
        let d = self.dimension;
        for (i, row) in out.chunks_exact_mut(d).enumerate() {
            row[column] = draw.point_tangent.iter().enumerate().map(|(j, tangent)| self.axes.rows()[j * d + i] * tangent).sum();
        }
    }
}
