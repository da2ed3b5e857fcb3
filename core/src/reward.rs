//! Rewards: what samples are steered towards.

use crate::autodiff::{Tape, Var};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::{Operations, Tensor};

/// A reward r(x) of clean samples. Samplers aim at the density p1(x) exp r(x), up to its constant. What they make of NaN is not defined: a reward that may give it
/// goes into [`Checked`].
///
/// −∞ is the reward of what cannot be. Populations, the best of several and searches leave it out where they have anything else; resampling and chains do where a
/// state has any other draw; MFM-GF does in the limit of draws and steps; DPS and MFM-G, which go by gradients, do not see it, nor any other jump.
pub trait Reward<T: Tensor> {
    /// r of each item: `[n, ...]` → `[n]`.
    ///
    /// # Errors
    /// The reward's own.
    fn value(&self, x: &T) -> Result<T>;

    /// r of each item, and ∇r: `[n, ...]` → (`[n]`, `[n, ...]`). What uses the gradient alone takes r to be continuous: jumps are in
    /// no gradient.
    ///
    /// # Errors
    /// The reward's own; [`Error::Unsupported`] for a reward without a gradient.
    fn value_and_gradient(&self, x: &T) -> Result<(T, T)> {
        let _ = x;
        Err(Error::Unsupported { op: "reward", what: "this reward offers no gradient; use an estimator that needs none" })
    }
}

impl<T: Tensor, R: Reward<T> + ?Sized> Reward<T> for &R {
    fn value(&self, x: &T) -> Result<T> {
        (**self).value(x)
    }

    fn value_and_gradient(&self, x: &T) -> Result<(T, T)> {
        (**self).value_and_gradient(x)
    }
}

/// The rewards of items, one of each.
pub(crate) fn rewards_of<T: Tensor>(reward: &(impl Reward<T> + ?Sized), x: &T) -> Result<T> {
    one_of_each(reward.value(x)?, x)
}

/// The same with their gradients.
pub(crate) fn rewards_and_gradients_of<T: Tensor>(reward: &(impl Reward<T> + ?Sized), x: &T) -> Result<(T, T)> {
    let (value, gradient) = reward.value_and_gradient(x)?;
    if gradient.shape() != x.shape() {
        return Err(Error::Shape { op: "the gradient of a reward", left: gradient.shape(), right: x.shape() });
    }
    Ok((one_of_each(value, x)?, gradient))
}

fn one_of_each<T: Tensor>(value: T, x: &T) -> Result<T> {
    let (expected, found) = (x.shape().batch(), value.shape().elements());
    if found != expected {
        return Err(Error::Length { op: "the rewards of samples", expected, found });
    }
    value.reshape(Shape::new(&[expected])?)
}

/// A reward whose numbers are looked at: one that is NaN or +∞, or whose gradient is not finite, is an error with the sample's index. −∞ is the reward of what
/// cannot be. Every call waits for the device.
#[derive(Clone, Copy, Debug)]
pub struct Checked<R>(
    /// The reward.
    pub R,
);

impl<T: Tensor, R: Reward<T>> Reward<T> for Checked<R> {
    /// # Errors
    /// The reward's own; [`Error::NonFinite`].
    fn value(&self, x: &T) -> Result<T> {
        let value = self.0.value(x)?;
        check_values(&value)?;
        Ok(value)
    }

    /// # Errors
    /// The reward's own; [`Error::NonFinite`].
    fn value_and_gradient(&self, x: &T) -> Result<(T, T)> {
        let (value, gradient) = self.0.value_and_gradient(x)?;
        check_values(&value)?;
        let item = gradient.shape().item().max(1);
        match gradient.to_vec::<f64>()?.iter().position(|slope| !slope.is_finite()) {
            Some(place) => Err(Error::NonFinite { what: "the gradient of the reward of the samples", index: place / item }),
            None => Ok((value, gradient)),
        }
    }
}

fn check_values<T: Tensor>(values: &T) -> Result<()> {
    match values.to_vec::<f64>()?.iter().position(|value| value.is_nan() || *value == f64::INFINITY) {
        Some(index) => Err(Error::NonFinite { what: "the reward of the samples", index }),
        None => Ok(()),
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
