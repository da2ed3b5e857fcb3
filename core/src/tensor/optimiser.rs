//! One step of an optimiser on a vector of parameters: a handful of operations, or one pass of a backend that has a kernel for it.

use super::{Operations, Tensor};
use crate::error::{Error, Result};

/// What is kept of each parameter between two steps; all tensors of one shape.
#[derive(Clone, Debug)]
pub struct OptimiserState<T> {
    /// θ.
    pub parameters: T,
    /// m, the decaying mean of the gradient.
    pub first: T,
    /// v, the decaying mean of its square.
    pub second: T,
    /// θ̄, the moving average of the parameters, if there is one.
    pub average: Option<T>,
}

/// What a step leaves.
#[derive(Clone, Debug)]
pub struct OptimiserUpdate<T> {
    /// What is kept.
    pub state: OptimiserState<T>,
    /// θ as [`Tensor::to_working`] gives it.
    pub working: T,
    /// Σ θ, a scalar, in whatever order: not finite unless every parameter is, as the device computes it (one that overflows when it is stored need not count).
    pub sum: T,
}

impl<T: Tensor> OptimiserState<T> {
    /// That of parameters that have made no step: moments of zero, and the parameters themselves as their moving average if there is to be one.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn new(parameters: T, with_average: bool) -> Result<Self> {
        let (first, second) = (parameters.zeros_like()?, parameters.zeros_like()?);
        Ok(Self { average: with_average.then(|| parameters.clone()), parameters, first, second })
    }

    /// The update whose state this is.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn into_update(self) -> Result<OptimiserUpdate<T>> {
        let (working, sum) = (self.parameters.to_working()?, self.parameters.sum_all()?);
        Ok(OptimiserUpdate { state: self, working, sum })
    }
}

/// The factors of one step against a gradient g:
///
/// m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², θ ← κ θ − η m/(√v + ε), or θ ← κ θ − η m without an ε, then θ̄ ← d θ̄ + (1 − d) θ.
///
/// Adam and RAdam are such steps, their corrections of the bias being part of η and ε.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimiserStep {
    /// β₁.
    pub first_decay: f64,
    /// β₂.
    pub second_decay: f64,
    /// ε, or none for a step along m.
    pub epsilon: Option<f64>,
    /// η.
    pub size: f64,
    /// κ, below one with a weight decay.
    pub keep: f64,
    /// d; read only with a moving average.
    pub average_decay: f64,
}

impl OptimiserStep {
    /// What the step leaves, by the backend's kernel if it has one.
    ///
    /// # Errors
    /// [`Error::Shape`] if the state or the gradient differ in shape, and whatever the device reports.
    pub fn apply<T: Tensor>(&self, state: &OptimiserState<T>, gradient: &T) -> Result<OptimiserUpdate<T>> {
        let shape = state.parameters.shape();
        for other in [Some(gradient), Some(&state.first), Some(&state.second), state.average.as_ref()].into_iter().flatten() {
            if other.shape() != shape {
                return Err(Error::Shape { op: "optimiser", left: shape, right: other.shape() });
            }
        }
        T::optimise(self, state, gradient)
    }

    /// The composed body of [`apply`](Self::apply), which has checked the shapes.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn composed<T: Tensor>(&self, state: &OptimiserState<T>, gradient: &T) -> Result<OptimiserUpdate<T>> {
        let mean = |decay: f64, old: &T, new: &T| T::linear_combination(&[(decay, old), (1.0 - decay, new)]);
        let first = mean(self.first_decay, &state.first, gradient)?;
        let second = mean(self.second_decay, &state.second, &gradient.square()?)?;
        let direction = match self.epsilon {
            Some(epsilon) => &first.div(&second.sqrt()?.shift(epsilon)?)?,
            None => &first,
        };
        let parameters = T::linear_combination(&[(self.keep, &state.parameters), (-self.size, direction)])?;
        let average = state.average.as_ref().map(|average| mean(self.average_decay, average, &parameters)).transpose()?;
        OptimiserState { parameters, first, second, average }.into_update()
    }
}
