//! ∇V in closed form, as a guide.

use crate::at_time::AtTime;
use crate::mixture::GaussianMixture;
use crate::reward::QuadraticReward;
use crate::value::ValueAt;
use mfm_core::guidance::{Guidance, Guide};
use mfm_core::{Device, Error, Flow, MetaFlowMap, Noise, Operations, Result, Tensor};

/// The exact Doob correction (σ²/2)∇V_t(x) of a mixture and a quadratic reward; the drift is the map's.
#[derive(Clone, Debug)]
pub struct ExactGradient<'a> {
    /// The prior.
    pub mixture: &'a GaussianMixture,
    /// The reward.
    pub reward: &'a QuadraticReward,
}

impl<T: Tensor, M: MetaFlowMap<T>> Guide<T, M> for ExactGradient<'_> {
    fn guide(&self, flow: &Flow<'_, M>, t: f64, x: &T, _: &Noise) -> Result<Guidance<T>> {
        let value = ValueAt::new(&AtTime::new(self.mixture, flow.path, t)?, self.reward)?;
        let states = x.to_vec::<f64>()?;
        let (mut values, mut gradients) = (vec![0.0; x.shape().batch()], vec![0.0; states.len()]);
        value.values_and_gradients(&states, &mut values, &mut gradients)?;
        let scale = flow.path.coefficients(t).half_sigma_squared();
        if !scale.is_finite() {
            return Err(Error::Range { what: "the time of a guide by gradients", value: t, range: "above 0, where σ² is finite" });
        }
        let correction = x.device().from_slice(&gradients, x.shape())?.scale(scale)?;
        Ok(Guidance { drift: flow.drift(t, x)?, correction: Some(correction), weights: None })
    }
}
