//! Weights of the residuals of a batch.

use crate::autodiff::Var;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::{Device, Operations, Tensor};
use alloc::vec::Vec;

/// The weight (‖Δ‖² + c)^(−p) of a residual Δ, detached (*Mean Flows*, section 4.3). p = 0 is the plain mean square. Of a map with a loss
/// weight of its own, Δ is the residual so weighted.
///
/// Where the target is random, as velocities of data are, a power above 0 has another minimiser, where E\[(‖Δ‖² + c)^(−p) Δ\] = 0 instead of E Δ = 0: for p = ½ nearly
/// the median, for p = 1 towards the mode. Targets that are functions, of a teacher or of the map itself, are learned as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveWeight {
    /// c > 0.
    pub offset: f64,
    /// p ≥ 0.
    pub power: f64,
}

impl AdaptiveWeight {
    /// No adaptive weight.
    pub const NONE: Self = Self { offset: 0.01, power: 0.0 };

    /// Checks that both are in their ranges. With c = 0 a residual of zero would weigh 0·∞.
    ///
    /// # Errors
    /// [`Error::Range`], naming the number.
    pub fn check(&self) -> Result<()> {
        let Self { offset, power } = *self;
        if !(power >= 0.0 && power.is_finite()) {
            return Err(Error::Range { what: "the power of the adaptive weight", value: power, range: "at least 0 and finite" });
        }
        if power > 0.0 && !(offset > 0.0 && offset.is_finite()) {
            return Err(Error::Range { what: "the offset of the adaptive weight", value: offset, range: "positive and finite" });
        }
        Ok(())
    }
}

/// u(s, t), the logarithm of the mean square that the diagonal residual has at these times: learned beside the map, so that times at which the residual
/// is large, whatever is learned, do not outweigh the others. Source: Karras et al., *Analyzing and Improving the Training Dynamics of Diffusion Models*
/// (2024), after Kendall et al. (2018); there over the level of noise, here over two times.
pub trait LossScale<T: Tensor> {
    /// u at pairs of times, `[n]` and `[n]` → `[n]`.
    ///
    /// # Errors
    /// Those of the operations it is made of.
    fn logarithm(&self, s: &T, t: &T) -> Result<T>;
}

/// A loss to be differentiated, and its value without the learned weighting.
pub(super) struct Weighed<T> {
    pub total: Var<T>,
    pub plain: T,
}

/// The mean over the batch of wᵢ qᵢ with wᵢ = e^(−uᵢ)/mean e^(−u), detached, plus that of sg(mᵢ) e^(−uᵢ) + uᵢ, whose minimiser is e^u = E m; qᵢ = weightᵢ ‖Δᵢ‖²,
/// and mᵢ is qᵢ over the size of an item, kept above 10⁻⁶. The weights have mean one, so that the loss stays in proportion to others.
pub(super) fn learned_mean_square<T: Tensor>(residual: &Var<T>, weights: Option<&[f64]>, logarithms: &Var<T>) -> Result<Weighed<T>> {
    let item = residual.shape().item().max(1) as f64;
    let squares = weighted_squares(residual, weights)?;
    let inverse = logarithms.scale(-1.0)?.exp()?;
    let share = inverse.value().div(&inverse.value().mean_all()?)?;
    let size = squares.value().scale(1.0 / item)?.shift(1e-6)?;
    let own = Var::constant(size).mul(&inverse)?.add(logarithms)?.mean_all()?;
    Ok(Weighed { plain: squares.value().mean_all()?, total: squares.mul(&Var::constant(share))?.mean_all()?.add(&own)? })
}

/// The factors on squared residuals: the map's own, times the squares of those that make a residual one of the straight path. `None` for ones, as on that path itself.
pub(super) fn factors(own: Option<Vec<f64>>, straight: impl Iterator<Item = f64>) -> Option<Vec<f64>> {
    let squares: Vec<f64> = straight.map(|weight| weight * weight).collect();
    match own {
        Some(own) => Some(own.iter().zip(&squares).map(|(own, square)| own * square).collect()),
        None => Some(squares).filter(|squares| squares.iter().any(|square| *square != 1.0)),
    }
}

/// weightᵢ ‖Δᵢ‖², for each item.
fn weighted_squares<T: Tensor>(residual: &Var<T>, weights: Option<&[f64]>) -> Result<Var<T>> {
    let squares = residual.square_norm_items()?;
    let Some(weights) = weights else { return Ok(squares) };
    let factor = squares.value().device().from_slice(weights, Shape::new(&[weights.len()])?)?;
    squares.mul(&Var::constant(factor))
}

/// The mean over the batch of qᵢ (qᵢ + c)^(−p), qᵢ = weightᵢ ‖Δᵢ‖²: a scalar. `weights`, if any, holds one factor for each item.
///
/// The map's own weight comes first, so that the adaptive one sees the residual of its network, as it is meant to: were both measured on
/// Δ, a map that weighs small residuals by up to 10⁶ would have them raised by the adaptive weight once more, and training would diverge.
pub(super) fn weighted_mean_square<T: Tensor>(residual: &Var<T>, adaptive: AdaptiveWeight, weights: Option<&[f64]>) -> Result<Var<T>> {
    adaptive.check()?;
    let mut squares = weighted_squares(residual, weights)?;
    if adaptive.power != 0.0 {
        let factor = squares.value().shift(adaptive.offset)?.log()?.scale(-adaptive.power)?.exp()?;
        squares = squares.mul(&Var::constant(factor))?;
    }
    squares.mean_all()
}
