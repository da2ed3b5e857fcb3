//! MFM-GF: the correction from weighted posterior draws, without any gradient.

use super::{Guidance, Guide, kappa};
use crate::draws::{Draws, draws_of};
use crate::error::Result;
use crate::flow_map::{Flow, MetaFlowMap};
use crate::noise::Noise;
use crate::reward::{Reward, rewards_of};
use crate::tensor::{Operations, Tensor};
use crate::weights::{by_state, weighted_mean, weights_of};

/// (σ²/2)∇V ≈ κ (Σ w_i x1_i − mean x1_i), w = softmax r(x1_i), x1_i = X_{0,1}(ε_i; t, x) (Meta Flow Maps, estimator MFM-GF).
///
/// Needs neither the reward's gradient nor the map's, and is of higher variance than MFM-G. Consistent as N → ∞ for any reward, with jumps and with −∞; at
/// finite N the plug-in mean biases it towards no steering, and one draw gives zero. The bias falls as 1/N.
#[derive(Clone, Copy, Debug)]
pub struct MfmGradientFree<'a, R> {
    /// The reward.
    pub reward: &'a R,
    /// The posterior draws.
    pub draws: Draws,
}

impl<T: Tensor, M: MetaFlowMap<T>, R: Reward<T>> Guide<T, M> for MfmGradientFree<'_, R> {
    fn guide(&self, flow: &Flow<'_, M>, t: f64, x: &T, noise: &Noise) -> Result<Guidance<T>> {
        let [correction, weights] = self.draws.for_blocks(flow, x, |flow, part, block| {
            correction_of_draws(flow, self.reward, t, block, &self.draws.noise(noise, block, part)?)
        })?;
        Ok(Guidance { drift: flow.drift(t, x)?, correction: Some(correction), weights: Some(weights) })
    }
}

/// κ (Σ w_i x1_i − mean x1_i) for given noise, [states·N, ...], and the weights of the draws, [states, N], as [`Guidance::weights`] has them.
///
/// # Errors
/// Those of the map and of the reward; [`Error::Range`](crate::Error::Range) at t = 1, where κ is infinite; [`Error::Shape`](crate::Error::Shape) unless
/// there are as many draws for each state.
pub fn correction_of_draws<T: Tensor, M: MetaFlowMap<T>>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    t: f64,
    x: &T,
    noise: &T,
) -> Result<[T; 2]> {
    let states = x.shape().batch();
    let n = draws_of(noise.shape(), x.shape())?;
    let kappa = kappa(flow.path, t)?;
    let ends = flow.posterior(noise, t, x)?;
    let weights = weights_of(&by_state(&rewards_of(reward, &ends)?, states, n)?)?;
    // Σ (w_i − 1/n) x_i: the difference of the two means in one product, without cancellation between them.
    Ok([weighted_mean(&weights.used.shift(-1.0 / n as f64)?.scale(kappa)?, &ends)?, weights.reported])
}
