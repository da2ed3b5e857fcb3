//! How the particles of a population move.

use crate::coupling::{Coupling, renoise};
use crate::error::Result;
use crate::flow_map::{Flow, MetaFlowMap};
use crate::guidance::{Guidance, Guide};
use crate::interpolant::StraightStep;
use crate::noise::Noise;
use crate::steer::{Dynamics, advance, check_sde_time, straight_slope};
use crate::tensor::{Device, Operations, Tensor};
use alloc::vec::Vec;

/// A move of particles from one time to the next.
pub trait Proposal<T: Tensor, M: MetaFlowMap<T>> {
    /// The states x_u, `[n, ...]`, from x_t, and log p(x_u | x_t) − log q(x_u | x_t) of each, where q made the move and p is the model's own; empty where
    /// the two are the same.
    ///
    /// # Errors
    /// Those of the map and of the reward.
    fn propose(&self, flow: &Flow<'_, M>, times: (f64, f64), x: &T, noise: &Noise) -> Result<(T, Vec<f64>)>;
}

/// One Euler–Maruyama step of the SDE under a guide ([`Unsteered`](crate::guidance::Unsteered) for the model's own), with the weight of the guide's
/// correction. The noise's stream 0 is the Wiener increment, its stream 1 the guide's.
#[derive(Clone, Copy, Debug)]
pub struct GuidedSde<G>(pub G);

impl<T: Tensor, M: MetaFlowMap<T>, G: Guide<T, M>> Proposal<T, M> for GuidedSde<G> {
    fn propose(&self, flow: &Flow<'_, M>, (t, u): (f64, f64), x: &T, noise: &Noise) -> Result<(T, Vec<f64>)> {
        check_sde_time(t)?;
        let (step, at) = (StraightStep::new(flow.path, t, u), flow.path.coefficients(t));
        let guidance = self.0.guide(flow, t, x, &noise.stream(1))?;
        let kick = x.device().normal(noise, x.shape())?;
        let next = advance(&step, x, &straight_slope(Dynamics::Sde, &at, &guidance, x)?, Some((step.deviation, &kick)))?;
        Ok((next, ratio(&guidance, 2.0 * step.slope * at.straight_weights().0 / step.deviation, &kick)?))
    }
}

/// log N(x'; unguided) − log N(x'; guided) for x' = guided mean + deviation·kick, where the guided mean lies `reach` deviations times the correction further;
/// empty without a correction.
fn ratio<T: Tensor>(guidance: &Guidance<T>, reach: f64, kick: &T) -> Result<Vec<f64>> {
    let Some(correction) = &guidance.correction else { return Ok(Vec::new()) };
    // That is δ, and the log ratio is −δ·kick − ‖δ‖²/2.
    let shift = correction.scale(reach)?;
    let cross = shift.mul(kick)?.sum_items()?;
    T::linear_combination(&[(-1.0, &cross), (-0.5, &shift.square_norm_items()?)])?.to_vec()
}

/// One draw of the posterior, and from it the next state: a move of the model's own law however far it goes, also from t = 0, for one evaluation. The
/// noise's stream 0 is the draw's, its stream 1 the coupling's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bridged(pub Coupling);

impl<T: Tensor, M: MetaFlowMap<T>> Proposal<T, M> for Bridged {
    fn propose(&self, flow: &Flow<'_, M>, (t, u): (f64, f64), x: &T, noise: &Noise) -> Result<(T, Vec<f64>)> {
        let x1 = flow.posterior(&x.device().normal(noise, x.shape())?, t, x)?;
        Ok((renoise(flow, self.0, (t, u), x, &x1, &noise.stream(1))?, Vec::new()))
    }
}
