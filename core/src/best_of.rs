//! Best of N.

use crate::categorical::best;
use crate::draws::Draws;
use crate::error::Result;
use crate::flow_map::{Condition, Flow, MetaFlowMap};
use crate::guidance::by_state;
use crate::noise::Noise;
use crate::reward::Reward;
use crate::sample::sample_by_steps;
use crate::shape::Shape;
use crate::tensor::{Device, Tensor};
use crate::times::TimeGrid;
use alloc::vec::Vec;

/// `count` samples of shape `item`, each the best by reward of `draws` samples of the model made by the map along `grid`.
///
/// # Errors
/// Those of the map and the reward; [`Error::Range`](crate::Error::Range) for zero draws or samples.
pub fn best_of<D: Device, M: MetaFlowMap<D::Tensor>>(
    device: &D,
    flow: &Flow<'_, M>,
    reward: &impl Reward<D::Tensor>,
    grid: &TimeGrid,
    draws: Draws,
    samples: Shape,
    noise: &Noise,
) -> Result<D::Tensor> {
    // Only the shape of the states matters here.
    let like = device.zeros(samples)?;
    let [chosen] = draws.for_blocks(&like, |(start, states), block| {
        let noise = draws.noise(noise, block, (start, states))?;
        let of_states = flow.condition.states(start, states);
        let labels = of_states.labels.map(|all| repeat(all, draws.count));
        let guidance = of_states.guidance.map(|all| repeat(all, draws.count));
        let condition = Condition { labels: labels.as_deref(), guidance: guidance.as_deref() };
        let ends = sample_by_steps(&flow.with_condition(condition), grid, &noise)?;
        let rewards = by_state(&reward.value(&ends)?, states, draws.count)?.to_vec::<f64>()?;
        let rows: Vec<usize> =
            rewards.chunks_exact(draws.count).enumerate().map(|(state, rewards)| state * draws.count + best(rewards)).collect();
        Ok([ends.gather(0, &rows)?])
    })?;
    Ok(chosen)
}

/// Each entry `times` times in a row; a list of one serves all as it is.
fn repeat<E: Copy>(all: &[E], times: usize) -> Vec<E> {
    let times = if all.len() == 1 { 1 } else { times };
    all.iter().flat_map(|&entry| core::iter::repeat_n(entry, times)).collect()
}
