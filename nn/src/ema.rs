//! The exponential moving average of the parameters, which is what samples are drawn from.

use mfm_core::{Error, Operations, Result, Tensor};

/// The decay at step k (counted from 1): min(`decay`, (1 + k)/(10 + k)), so that the start is soon forgotten.
pub fn decay_at(decay: f64, step: u64) -> f64 {
    let k = step as f64;
    decay.min((1.0 + k) / (10.0 + k))
}

/// d · `average` + (1 − d) · `parameters`, with d of [`decay_at`].
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn average<T: Tensor>(average: &T, parameters: &T, decay: f64, step: u64) -> Result<T> {
    if average.shape() != parameters.shape() {
        return Err(Error::Shape { op: "moving average", left: average.shape(), right: parameters.shape() });
    }
    let d = decay_at(decay, step);
    T::linear_combination(&[(d, average), (1.0 - d, parameters)])
}
