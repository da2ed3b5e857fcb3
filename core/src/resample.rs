//! Resampled steering: choose a posterior draw by its weight, then bridge to the next time. No time discretisation at all.

use crate::categorical::Concentration;
use crate::coupling::{Coupling, renoise};
use crate::draws::Draws;
use crate::error::Result;
use crate::flow_map::{Flow, MetaFlowMap};
use crate::memory;
use crate::noise::Noise;
use crate::reward::{Reward, rewards_of};
use crate::tensor::Tensor;
use crate::times::TimeGrid;
use crate::weights::{by_state, concentration, weights_of};

/// How to steer by resampling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampling {
    /// The times; from 0 to 1 for samples.
    pub grid: TimeGrid,
    /// N posterior draws at each time.
    pub draws: Draws,
    /// How the next state is made.
    pub coupling: Coupling,
}

impl Resampling {
    /// Network evaluations for each sample.
    pub fn evaluations(&self) -> usize {
        self.grid.steps.saturating_mul(self.draws.count)
    }
}

/// Moves `x` from the first time of the grid to the last: at each time draw N posterior samples, choose one with probability
/// proportional to exp r, and go to the next time by the coupling.
///
/// The law is exact as N → ∞ for any number of steps. `on_step` receives the number of the step and how concentrated the weights
/// were, and may stop the run by an error. The noise of step k is `noise.fork(k)`.
///
/// # Errors
/// Those of the map, the reward and `on_step`; [`Error::Range`](crate::Error::Range) for a bad grid, zero draws or zero samples.
pub fn steer_by_resampling<T: Tensor, M: MetaFlowMap<T>>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    resampling: &Resampling,
    x: &T,
    noise: &Noise,
    on_step: &mut dyn FnMut(usize, Concentration) -> Result<()>,
) -> Result<T> {
    let draws = resampling.draws;
    let mut x = x.clone();
    for (k, pair) in resampling.grid.times(flow.path)?.windows(2).enumerate() {
        let noise = noise.fork(k as u64);
        let mut uniforms = memory::filled("resampling", 0.0, x.shape().batch())?;
        noise.stream(1).fill_uniform(&mut uniforms);
        let [chosen, weights] = draws.for_blocks(flow, &x, |flow, (start, states), block| {
            let ends = flow.posterior(&draws.noise(&noise, block, (start, states))?, pair[0], block)?;
            let weights = weights_of(&by_state(&rewards_of(reward, &ends)?, states, draws.count)?)?;
            Ok([ends.gather(0, &weights.choose_rows(&uniforms[start..])?)?, weights.reported])
        })?;
        x = renoise(flow, resampling.coupling, (pair[0], pair[1]), &x, &chosen, &noise.stream(2))?;
        on_step(k, concentration(&weights)?)?;
    }
    Ok(x)
}
