//! Rewards: what samples are steered towards.

use crate::autodiff::{Tape, Var};
use crate::error::{Error, Result};
use crate::tensor::{Operations, Tensor};

/// A reward r(x) of clean samples. Samplers aim at the density p1(x) exp r(x), up to its constant.
pub trait Reward<T: Tensor> {
    /// r of each item: `[n, ...]` → `[n]`.
    ///
    /// # Errors
    /// The reward's own.
    fn value(&self, x: &T) -> Result<T>;

    /// r of each item, and ∇r: `[n, ...]` → (`[n]`, `[n, ...]`).
    ///
    /// # Errors
    /// The reward's own; [`Error::Unsupported`] for a reward without a gradient.
    fn value_and_gradient(&self, x: &T) -> Result<(T, T)> {
        let _ = x;
        Err(Error::Unsupported { op: "reward", what: "this reward offers no gradient; use an estimator that needs none" })
    }
}

/// A reward given as a formula over any tensor, so that its gradient follows.
pub trait RewardFormula {
    /// r of each item: `[n, ...]` → `[n]`.
    ///
    /// # Errors
    /// Those of the operations it is made of.
    fn evaluate<T: Tensor>(&self, x: &T) -> Result<T>;
}

/// A [`RewardFormula`] as a [`Reward`], its gradient by reverse differentiation.
#[derive(Clone, Copy, Debug)]
pub struct ByDifferentiation<F>(
    /// The formula.
    pub F,
);

impl<T: Tensor, F: RewardFormula> Reward<T> for ByDifferentiation<F> {
    fn value(&self, x: &T) -> Result<T> {
        self.0.evaluate(x)
    }

    fn value_and_gradient(&self, x: &T) -> Result<(T, T)> {
        differentiate(x, |x| self.0.evaluate(x))
    }
}

/// The value of each item under `reward` and the gradient of each by that item; items must not influence one another.
///
/// # Errors
/// Those of `reward`; [`Error::Independent`] if it does not depend on x.
pub fn differentiate<T: Tensor>(x: &T, reward: impl FnOnce(&Var<T>) -> Result<Var<T>>) -> Result<(T, T)> {
    let tape = Tape::new();
    let variable = tape.variable(x.clone());
    let value = reward(&variable)?;
    let ones = value.value().zeros_like()?.shift(1.0)?;
    let gradient = tape.backward(&value, ones)?.of(&variable)?;
    Ok((value.into_value(), gradient))
}
