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
        Self { guide, window: 0.0..=1.0, damping: 1.0, rescale: None, clip: None }
    }

    /// The correction with a norm relative to the drift's.
    fn relative<T: Tensor>(correction: &T, drift: &T, multiple: f64, only_shorten: bool) -> Result<T> {
        let norm = correction.square_norm_items()?.sqrt()?;
        let wanted = drift.square_norm_items()?.sqrt()?.scale(multiple)?;
        let one = drift.device().full(1.0, Shape::SCALAR)?;
        let zero = drift.device().zeros(Shape::SCALAR)?;
        // A correction of zero stays zero, whatever is wanted.
        let factor = norm.compare(Compare::LessEqual, &zero)?.select(&one, &wanted.div(&norm)?)?;
        let factor = if only_shorten { factor.compare(Compare::Less, &one)?.select(&factor, &one)? } else { factor };
        correction.mul(&factor.per_item(correction.shape())?)
    }
}

impl<T: Tensor, M: MetaFlowMap<T>, G: Guide<T, M>> Guide<T, M> for Adjusted<G> {
    fn guide(&self, flow: &Flow<'_, M>, t: f64, x: &T, noise: &Noise) -> Result<Guidance<T>> {
        if !self.window.contains(&t) {
            return super::Unsteered.guide(flow, t, x, noise);
        }
        let mut guidance = self.guide.guide(flow, t, x, noise)?;
        if let Some(mut correction) = guidance.correction.take() {
            correction = correction.scale(self.damping)?;
            if let Some(multiple) = self.rescale {
                correction = Self::relative(&correction, &guidance.drift, multiple, false)?;
            }
            if let Some(multiple) = self.clip {
                correction = Self::relative(&correction, &guidance.drift, multiple, true)?;
            }
            guidance.correction = Some(correction);
        }
        Ok(guidance)
    }

    fn evaluations(&self) -> usize {
        self.guide.evaluations()
    }
}
