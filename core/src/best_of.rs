//! Best of N.

use crate::categorical::best;
use crate::draws::Draws;
use crate::error::Result;
use crate::flow_map::{Condition, Flow, MetaFlowMap};
use crate::noise::Noise;
use crate::reward::{Reward, rewards_of};
use crate::sample::sample_by_steps;
use crate::tensor::Tensor;
use crate::times::TimeGrid;
use crate::weights::by_state;
use alloc::vec::Vec;

/// As many samples as `like` has, of their shape, each the best by reward of `draws` samples of the model made by the map along `grid`. `on_step` gets
/// the number of each block of samples ([`Draws::blocks`]), from 0, and the best reward so far, and may stop the run by an error.
///
/// # Errors
/// Those of the map, the reward and `on_step`; [`Error::Range`](crate::Error::Range) for zero draws or samples.
pub fn best_of<T: Tensor, M: MetaFlowMap<T>>(
    flow: &Flow<'_, M>,
    reward: &impl Reward<T>,
    grid: &TimeGrid,
    draws: Draws,
    like: &T,
    noise: &Noise,
    on_step: &mut dyn FnMut(usize, f64) -> Result<()>,
) -> Result<T> {
    let (mut blocks, mut best_reward) = (0, f64::NAN);
    let [chosen] = draws.for_blocks(flow, like, |flow, (start, states), block| {
        let noise = draws.noise(noise, block, (start, states))?;
        let (labels, guidance) = flow.condition.repeat(draws.count);
        let condition = Condition { labels: labels.as_deref(), guidance: guidance.as_deref() };
        let ends = sample_by_steps(&flow.with_condition(condition), grid, &noise)?;
        let rewards = by_state(&rewards_of(reward, &ends)?, states, draws.count)?.to_vec::<f64>()?;
        let rows: Vec<usize> =
            rewards.chunks_exact(draws.count).enumerate().map(|(state, rewards)| state * draws.count + best(rewards)).collect();
        let chosen = ends.gather(0, &rows)?;
        best_reward = rewards.iter().copied().fold(best_reward, f64::max);
        on_step(blocks, best_reward)?;
        blocks += 1;
        Ok([chosen])
    })?;
    Ok(chosen)
}
