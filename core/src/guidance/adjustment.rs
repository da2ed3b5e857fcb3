//! Options that tame a correction, all off by default.

use super::{Guidance, Guide};
use crate::error::Result;
use crate::flow_map::{Flow, MetaFlowMap};
use crate::noise::Noise;
use crate::shape::Shape;
use crate::tensor::{Compare, Device, Operations, Tensor};
use core::ops::RangeInclusive;

/// A guide whose correction is windowed, damped, rescaled and clipped, in this order.
#[derive(Clone, Debug)]
pub struct Adjusted<G> {
    /// The guide.
    pub guide: G,
    /// Outside these times there is no correction.
    pub window: RangeInclusive<f64>,
    /// Before this time the guide is asked for its correction at this time; 0 for never. A guide by gradients needs it in a run that starts at t = 0, where
    /// σ²∇V is ∞ · 0; it has a finite limit and changes little, so to ask for it at t leaves an error of O(t²).
    pub earliest: f64,
    /// A factor on the correction, 1 for none.
    pub damping: f64,
    /// Rescale the correction of each state to this multiple of the drift's norm.
    pub rescale: Option<f64>,
    /// Shorten the correction of each state to at most this multiple of the drift's norm.
    pub clip: Option<f64>,
}

impl<G> Adjusted<G> {
    /// `guide` as it is.
    pub fn new(guide: G) -> Self {
        Self { guide, window: 0.0..=1.0, earliest: 0.0, damping: 1.0, rescale: None, clip: None }
    }
}

/// Each item of `correction` with the norm of that of `reference`: multiplied by ‖reference‖/(‖correction‖ + ε). Zero stays zero.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the shapes differ.
pub fn rescale_to<T: Tensor>(correction: &T, reference: &T, epsilon: f64) -> Result<T> {
    let factor = relative_norm(correction, reference, epsilon)?;
    correction.mul(&factor.per_item(correction.shape())?)
}

/// Each item of `correction`, shortened if it is longer than that of `reference`.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the shapes differ.
pub fn clip_to<T: Tensor>(correction: &T, reference: &T, epsilon: f64) -> Result<T> {
    let factor = relative_norm(correction, reference, epsilon)?;
    let one = factor.device().full(1.0, Shape::SCALAR)?;
    let factor = factor.compare(Compare::Less, &one)?.select(&factor, &one)?;
    correction.mul(&factor.per_item(correction.shape())?)
}

/// ‖reference‖/(‖correction‖ + ε), 1 for a correction of zero.
fn relative_norm<T: Tensor>(correction: &T, reference: &T, epsilon: f64) -> Result<T> {
    let norm = correction.norm_items()?;
    let wanted = reference.norm_items()?;
    let (one, zero) = (norm.device().full(1.0, Shape::SCALAR)?, norm.device().zeros(Shape::SCALAR)?);
    norm.compare(Compare::LessEqual, &zero)?.select(&one, &wanted.div(&norm.shift(epsilon)?)?)
}

impl<T: Tensor, M: MetaFlowMap<T>, G: Guide<T, M>> Guide<T, M> for Adjusted<G> {
    fn guide(&self, flow: &Flow<'_, M>, t: f64, x: &T, noise: &Noise) -> Result<Guidance<T>> {
        if !self.window.contains(&t) {
            return super::Unsteered.guide(flow, t, x, noise);
        }
        let mut guidance = self.guide.guide(flow, t.max(self.earliest), x, noise)?;
        if t < self.earliest {
            guidance.drift = flow.drift(t, x)?;
        }
        if let Some(mut correction) = guidance.correction.take() {
            correction = correction.scale(self.damping)?;
            if let Some(multiple) = self.rescale {
                correction = rescale_to(&correction, &guidance.drift.scale(multiple)?, 0.0)?;
            }
            if let Some(multiple) = self.clip {
                correction = clip_to(&correction, &guidance.drift.scale(multiple)?, 0.0)?;
            }
            guidance.correction = Some(correction);
        }
        Ok(guidance)
    }
}
