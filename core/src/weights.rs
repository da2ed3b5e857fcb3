//! Weights of the draws of each state, w_i ∝ exp r_i, and what is made of them.

use crate::categorical::{Concentration, choose};
use crate::error::Result;
use crate::shape::Shape;
use crate::tensor::{Compare, Device, Operations, Reduce, Tensor, Transpose, Unary};
use alloc::vec::Vec;

/// `[states·draws]` rewards as [states, draws].
pub(crate) fn by_state<T: Tensor>(rewards: &T, states: usize, draws: usize) -> Result<T> {
    rewards.reshape(Shape::new(&[states, draws])?)
}

/// The weights of the draws, softmax r over those of each state, [states, draws].
pub(crate) struct Weights<T> {
    /// For choices and averages: equal where all of a state's draws are impossible (r = −∞).
    pub used: T,
    /// For reports: zero there, where no draw counts.
    pub reported: T,
}

impl<T: Tensor> Weights<T> {
    /// Of each state's draws, in rows of [states·draws, ...], the row of one that is chosen by its weight, with one uniform number for each state.
    pub fn choose_rows(&self, uniforms: &[f64]) -> Result<Vec<usize>> {
        let draws = self.used.shape().axis(1)?;
        let weights = self.used.to_vec::<f64>()?;
        let states = weights.chunks_exact(draws).zip(uniforms).enumerate();
        Ok(states.map(|(state, (weights, uniform))| state * draws + choose(weights, *uniform)).collect())
    }
}

/// The weights by the rewards, [states, draws].
pub(crate) fn weights_of<T: Tensor>(rewards: &T) -> Result<Weights<T>> {
    let constant = |value: f64| rewards.device().full(value, Shape::SCALAR);
    let zero = constant(0.0)?;
    let impossible = rewards.reduce(Reduce::Max, 1)?.compare(Compare::Equal, &constant(f64::NEG_INFINITY)?)?;
    let used = impossible.select(&zero, rewards)?.softmax(1)?;
    Ok(Weights { reported: impossible.select(&zero, &used)?, used })
}

/// Σ_i w_i x_i over the draws of each state: weights [states, draws], x of [states·draws, ...] → [states, ...].
pub(crate) fn weighted_mean<T: Tensor>(weights: &T, x: &T) -> Result<T> {
    let (shape, by) = (x.shape(), weights.shape());
    let (states, draws, item) = (by.axis(0)?, by.axis(1)?, shape.item());
    let x = x.reshape(Shape::new(&[states, draws, item])?)?;
    let mean = weights.reshape(Shape::new(&[states, 1, draws])?)?.matmul(&x, Transpose::NONE)?;
    mean.reshape(shape.with_batch(states)?)
}

/// The concentration of weights [states, draws], whose rows are zero where nothing is possible.
pub(crate) fn concentration<T: Tensor>(weights: &T) -> Result<Concentration> {
    let (squares, zero) = (weights.square()?.sum(1)?, weights.device().zeros(Shape::SCALAR)?);
    let size = squares.compare(Compare::Equal, &zero)?.select(&zero, &squares.unary(Unary::Recip)?)?.mean_all()?;
    let largest = weights.reduce(Reduce::Max, 1)?.mean_all()?;
    Ok(Concentration { effective_sample_size: size.to_vec::<f64>()?[0], largest_weight: largest.to_vec::<f64>()?[0] })
}
