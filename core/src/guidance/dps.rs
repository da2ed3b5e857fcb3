//! DPS, the baseline: the reward at the posterior mean in place of the mean of the exponential reward.

use super::{Guidance, Guide, half_sigma_squared};
use crate::autodiff::{Tape, Var};
use crate::draws::Draws;
use crate::error::Result;
use crate::flow_map::{Flow, Lift};
use crate::noise::Noise;
use crate::reward::{Reward, rewards_and_gradients_of};
use crate::tensor::{Operations, Tensor};

/// ∇V ≈ ∇_x r(D_t(x)) (Chung et al., *Diffusion Posterior Sampling*, 2023). Biased for every reward that is not linear; sees no jump, and no −∞.
#[derive(Clone, Copy, Debug)]
pub struct Dps<'a, R> {
    /// The reward, with its gradient.
    pub reward: &'a R,
}

impl<T: Tensor, M: Lift<T>, R: Reward<T>> Guide<T, M> for Dps<'_, R> {
    fn guide(&self, flow: &Flow<'_, M>, t: f64, x: &T, _: &Noise) -> Result<Guidance<T>> {
        let frozen = flow.map.frozen()?;
        let (drift_weight, state_weight) = flow.path.coefficients(t).posterior_mean_weights();
        let scale = half_sigma_squared(flow.path, t)?;
        let [drift, gradient] = Draws::new(1).for_blocks(&flow.with_map(&frozen), x, |flow, _, x| {
            let tape = Tape::new();
            let state = tape.variable(x.clone());
            let drift = flow.drift(t, &state)?;
            let mean = Var::linear_combination(&[(drift_weight, &drift), (state_weight, &state)])?;
            let (_, slope) = rewards_and_gradients_of(&self.reward, mean.value())?;
            Ok([drift.value().clone(), tape.backward(&mean, slope)?.of(&state)?])
        })?;
        Ok(Guidance { drift, correction: Some(gradient.scale(scale)?), weights: None })
    }
}
