//! MFM-G: the gradient of a log-mean-exponential through the map.

use super::{Guidance, Guide, by_state, half_sigma_squared};
use crate::autodiff::{Tape, Var};
use crate::draws::Draws;
use crate::error::Result;
use crate::flow_map::{Flow, Lift};
use crate::noise::Noise;
use crate::reward::Reward;
use crate::tensor::{Operations, Tensor};

/// ∇V ≈ ∇_x log (1/N) Σ_i exp r(X_{0,1}(ε_i; t, x)), by one backward pass through the map (Meta Flow Maps, estimator MFM-G).
///
/// Consistent as N → ∞; at finite N the plug-in logarithm biases it towards the gradient at single draws, most where the reward
/// varies much over the posterior.
#[derive(Clone, Copy, Debug)]
pub struct MfmGradient<'a, R> {
    /// The reward, with its gradient.
    pub reward: &'a R,
    /// The posterior draws.
    pub draws: Draws,
}

impl<T: Tensor, M: Lift<T>, R: Reward<T>> Guide<T, M> for MfmGradient<'_, R> {
    fn guide(&self, flow: &Flow<'_, M>, t: f64, x: &T, noise: &Noise) -> Result<Guidance<T>> {
        let scale = half_sigma_squared(flow.path, t)?;
        let lifted = flow.map.lift(&mut |p: &T| Ok(Var::constant(p.clone())))?;
        let [gradient, weights] = self.draws.for_blocks(x, |(start, states), block| {
            let noise = self.draws.noise(noise, block, (start, states))?;
            let tape = Tape::new();
            let state = tape.variable(block.clone());
            let flow = Flow { map: &lifted, path: flow.path, condition: flow.condition.states(start, states) };
            let ends = flow.posterior(&Var::constant(noise), t, &state)?;
            let (rewards, slopes) = self.reward.value_and_gradient(ends.value())?;
            // The gradient of a log-mean-exponential is the weighted mean of the gradients.
            let weights = by_state(&rewards, states, self.draws.count)?.softmax(1)?;
            let cotangent = slopes.mul(&weights.reshape(slopes.shape().per_item(states * self.draws.count)?)?)?;
            Ok([tape.backward(&ends, cotangent)?.of(&state)?, weights])
        })?;
        Ok(Guidance { drift: flow.drift(t, x)?, correction: Some(gradient.scale(scale)?), weights: Some(weights) })
    }

    fn evaluations(&self) -> usize {
        1 + 3 * self.draws.count
    }
}
