//! Posterior draws in blocks of states, so that memory stays bounded; the noise does not depend on the blocks.

use crate::error::{Error, Result};
use crate::flow_map::Flow;
use crate::noise::Noise;
use crate::shape::Shape;
use crate::tensor::{Device, Tensor};
use alloc::vec::Vec;

/// How many posterior draws for each state, and how many rows are evaluated at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// N, the number of draws for each state; at least 1.
    pub count: usize,
    /// The most rows (states × draws) evaluated at once; fewer where rows are long, so that together they hold at most 2²⁰ numbers. The draws of one state
    /// are never split.
    pub rows: usize,
}

/// Checks that there are samples in a batch of this shape.
pub(crate) fn check_samples(shape: Shape) -> Result<()> {
    if shape.batch() > 0 { Ok(()) } else { Err(Error::Range { what: "the number of samples", value: 0.0, range: "at least 1" }) }
}

/// The number of draws for each state, of rows of the shape [states·draws, ...] for states of the shape [states, ...].
pub(crate) fn draws_of(rows: Shape, states: Shape) -> Result<usize> {
    match rows.batch().checked_div(states.batch()) {
        Some(draws) if draws > 0 && draws * states.batch() == rows.batch() => Ok(draws),
        _ => Err(Error::Shape { op: "posterior draws", left: rows, right: states }),
    }
}

/// The most numbers in the rows that are evaluated at once.
const NUMBERS: usize = 1 << 20;

impl Draws {
    /// `count` draws for each state, evaluated at most 16,384 rows at once.
    pub fn new(count: usize) -> Self {
        Self { count, rows: 16_384 }
    }

    /// The most rows of `item` numbers each that are evaluated at once, where states are not larger.
    pub fn most_rows(&self, item: usize) -> usize {
        self.rows.min(NUMBERS / item.max(1)).max(1)
    }

    /// The blocks (first state, number of states) of states of the shape [n, ...].
    ///
    /// # Errors
    /// [`Error::Range`] for zero draws or zero states.
    pub fn blocks(&self, shape: Shape) -> Result<Vec<(usize, usize)>> {
        self.check()?;
        check_samples(shape)?;
        let states = shape.batch();
        let size = (self.most_rows(shape.item()) / self.count).clamp(1, states);
        Ok((0..states).step_by(size).map(|start| (start, size.min(states - start))).collect())
    }

    /// Checks that there are draws.
    pub(crate) fn check(&self) -> Result<()> {
        if self.count > 0 { Ok(()) } else { Err(Error::Range { what: "the number of draws", value: 0.0, range: "at least 1" }) }
    }

    /// The noise of a block, one row for each draw: element j of state i's draws is a function of (noise, i, j) alone.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn noise<T: Tensor>(&self, noise: &Noise, like: &T, (start, states): (usize, usize)) -> Result<T> {
        let shape = like.shape();
        let skipped = start as u64 * self.count as u64 * shape.item() as u64;
        like.device().normal(&noise.skip(skipped), shape.with_batch(states * self.count)?)
    }

    /// `f` of each block of the states `x`, with the flow under their part of its condition; the results one after another.
    ///
    /// # Errors
    /// Those of `f`, of [`blocks`](Self::blocks), and of [`Condition::check`](crate::Condition::check).
    pub fn for_blocks<'a, T: Tensor, M, const K: usize>(
        &self,
        flow: &Flow<'a, M>,
        x: &T,
        mut f: impl FnMut(&Flow<'a, M>, (usize, usize), &T) -> Result<[T; K]>,
    ) -> Result<[T; K]> {
        let blocks = self.blocks(x.shape())?;
        flow.condition.check(x.shape().batch())?;
        if let [block] = blocks[..] {
            return f(flow, block, x);
        }
        let sizes: Vec<usize> = blocks.iter().map(|&(_, states)| states).collect();
        let parts = blocks.iter().zip(x.split(0, &sizes)?);
        let parts = parts.map(|(&(start, states), x)| f(&flow.with_condition(flow.condition.states(start, states)), (start, states), &x));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let mut joined = Vec::with_capacity(K);
        for k in 0..K {
            let pieces: Vec<&T> = parts.iter().map(|part| &part[k]).collect();
            joined.push(T::concat(&pieces, 0)?);
        }
        joined.try_into().map_err(|_| Error::Length { op: "blocks", expected: K, found: 0 })
    }
}
