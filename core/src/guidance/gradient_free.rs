//! MFM-GF: the correction from weighted posterior draws, without any gradient.

use super::{Guidance, Guide, by_state, weighted_mean};
use crate::draws::Draws;
use crate::error::Result;
use crate::flow_map::{Flow, MetaFlowMap};
use crate::noise::Noise;
use crate::reward::Reward;
use crate::tensor::{Operations, Tensor};

/// (σ²/2)∇V ≈ κ (Σ w_i x1_i − mean x1_i), w = softmax r(x1_i), x1_i = X_{0,1}(ε_i; t, x) (Meta Flow Maps, estimator MFM-GF).
///
/// Needs neither the reward's gradient nor the map's; of higher variance than MFM-G, but without its bias from single draws.
#[derive(Clone, Copy, Debug)]
pub struct MfmGradientFree<'a, R> {
    /// The reward.
    pub reward: &'a R,
    /// The posterior draws.
    pub draws: Draws,
}

impl<T: Tensor, M: MetaFlowMap<T>, R: Reward<T>> Guide<T, M> for MfmGradientFree<'_, R> {
    fn guide(&self, flow: &Flow<'_, M>, t: f64, x: &T, noise: &Noise) -> Result<Guidance<T>> {
        let n = self.draws.count;
        let kappa = flow.path.coefficients(t).kappa();
        let [correction, weights] = self.draws.for_blocks(x, |(start, states), block| {
            let noise = self.draws.noise(noise, block, (start, states))?;
            let flow = flow.with_condition(flow.condition.states(start, states));
            let ends = flow.posterior(&noise, t, block)?;
            let weights = by_state(&self.reward.value(&ends)?, states, n)?.softmax(1)?;
            // Σ (w_i − 1/n) x_i: the difference of the two means in one product, without cancellation between them.
            let correction = weighted_mean(&weights.shift(-1.0 / n as f64)?.scale(kappa)?, &ends)?;
            Ok([correction, weights])
        })?;
        Ok(Guidance { drift: flow.drift(t, x)?, correction: Some(correction), weights: Some(weights) })
    }

    fn evaluations(&self) -> usize {
        1 + self.draws.count
    }
}
