//! Search: particles that look ahead by posterior draws, keep the best, and renoise.

use crate::categorical::best;
use crate::coupling::{Coupling, renoise};
use crate::draws::Draws;
use crate::error::{Error, Result};
use crate::flow_map::{Flow, MetaFlowMap};
use crate::memory;
use crate::noise::Noise;
use crate::reward::{Reward, rewards_of};
use crate::tensor::Tensor;
use crate::times::TimeGrid;
use alloc::vec::Vec;

/// Which draws the particles go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Keep {
    /// Each particle from its own best draw.
    #[default]
    PerParticle,
    /// All particles from the best draw of all.
    Overall,
}

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// The times at which draws are made: all but the last.
    pub grid: TimeGrid,
    /// N posterior draws for each particle at each time.
    pub draws: Draws,
    /// Which are kept.
    pub keep: Keep,
    /// How a kept draw is taken to the next time.
    pub coupling: Coupling,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// The best draw that each particle ever made, [particles, ...].
    pub samples: T,
    /// Their rewards.
    pub rewards: Vec<f64>,
}

impl Search {
    /// Network evaluations for each particle.
    pub fn evaluations(&self) -> usize {
        self.grid.steps.saturating_mul(self.draws.count)
    }

    /// Searches from the particles `x` at the first time of the grid. `on_step` gets the number of the step and the best reward
    /// so far, and may stop the run by an error. Step k uses `noise.fork(k)`.
    ///
    /// # Errors
    /// Those of the map, the reward and `on_step`; [`Error::Range`] for a bad grid, zero draws or particles; [`Error::Unsupported`] for particles of several
    /// conditions, were all to go on from the best of one.
    pub fn run<T: Tensor, M: MetaFlowMap<T>>(
        &self,
        flow: &Flow<'_, M>,
        reward: &impl Reward<T>,
        x: &T,
        noise: &Noise,
        on_step: &mut dyn FnMut(usize, f64) -> Result<()>,
    ) -> Result<Found<T>> {
        if self.keep == Keep::Overall && !flow.condition.is_shared() {
            return Err(Error::Unsupported { op: "search", what: "particles that go on from the best draw of all share one condition" });
        }
        let particles = x.shape().batch();
        let mut x = x.clone();
        // Anything is better than NaN.
        let mut found = Found { samples: x.clone(), rewards: memory::filled("search", f64::NAN, particles)? };
        for (k, pair) in self.grid.times(flow.path)?.windows(2).enumerate() {
            let noise = noise.fork(k as u64);
            let mut rewards = memory::filled("search", 0.0, particles)?;
            let [mut kept] = self.draws.for_blocks(flow, &x, |flow, (start, states), block| {
                let ends = flow.posterior(&self.draws.noise(&noise, block, (start, states))?, pair[0], block)?;
                let values = rewards_of(reward, &ends)?.to_vec::<f64>()?;
                let mut rows = Vec::with_capacity(states);
                for (state, values) in values.chunks_exact(self.draws.count).enumerate() {
                    let chosen = best(values);
                    rewards[start + state] = values[chosen];
                    rows.push(state * self.draws.count + chosen);
                }
                Ok([ends.gather(0, &rows)?])
            })?;
            found = found.improve(&kept, &rewards)?;
            if self.keep == Keep::Overall {
                kept = kept.gather(0, &memory::filled("search", best(&rewards), particles)?)?;
            }
            x = renoise(flow, self.coupling, (pair[0], pair[1]), &x, &kept, &noise.stream(2))?;
            on_step(k, found.rewards[best(&found.rewards)])?;
        }
        Ok(found)
    }
}

impl<T: Tensor> Found<T> {
    /// The better of two finds, particle by particle.
    fn improve(self, samples: &T, rewards: &[f64]) -> Result<Self> {
        let particles = rewards.len();
        // NaN is never better, and anything is better than NaN.
        let better = |old: f64, new: f64| new > old || old.is_nan();
        let rows = memory::list("search", (0..particles).map(|i| if better(self.rewards[i], rewards[i]) { particles + i } else { i }))?;
        let samples = T::concat(&[&self.samples, samples], 0)?.gather(0, &rows)?;
        let better = self.rewards.iter().zip(rewards).map(|(a, b)| if better(*a, *b) { *b } else { *a });
        let rewards = memory::list("search", better)?;
        Ok(Self { samples, rewards })
    }
}
