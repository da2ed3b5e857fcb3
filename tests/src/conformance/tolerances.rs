//! How near a device must come to the reference.

use super::failure::{Check, Failure, require};
use super::reference::{Number, Reference};
use mfm_core::Tensor;

/// How near a device must come to the reference, in its own precision.
///
/// The [`Reference`] carries with each number the rounding error that an honest evaluation in primitives may have collected, in
/// units of the precision: |x| for one operation on exact numbers, Σ|x| for a sum, and so on through every composition. A
/// device may err by `relative` times that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// The error allowed for each unit: some ten to forty roundings.
    pub relative: f64,
    /// Numbers below this may be lost: ten thousand times the smallest normal number, since factors follow on what was flushed.
    pub tiny: f64,
    /// Numbers above this are infinite.
    pub huge: f64,
}

impl Tolerances {
    /// For storage and arithmetic in f64.
    pub const F64: Self = Self { relative: 1e-12, tiny: 1e4 * f64::MIN_POSITIVE, huge: f64::MAX };
    /// For storage and arithmetic in f32.
    pub const F32: Self = Self { relative: 2e-6, tiny: 1e4 * f32::MIN_POSITIVE as f64, huge: f32::MAX as f64 };
    /// For storage in bf16 with accumulation in f32.
    pub const BF16: Self = Self { relative: 1e-2, ..Self::F32 };

    /// Whether `actual` is `expected` in shape and in every element.
    ///
    /// # Errors
    /// The first element that is too far.
    pub fn agree<T: Tensor>(&self, expected: &Reference, actual: &T) -> Check {
        self.agree_at(expected, actual, |_| String::new())
    }

    /// As [`agree`](Self::agree), with words for an element, such as its operands, which follow its place in the message.
    ///
    /// # Errors
    /// The first element that is too far.
    pub fn agree_at<T: Tensor>(&self, expected: &Reference, actual: &T, words: impl Fn(usize) -> String) -> Check {
        require(expected.shape() == actual.shape(), || format!("the shape is {} where {} is expected", actual.shape(), expected.shape()))?;
        let values: Vec<f64> = actual.to_vec()?;
        require(values.len() == expected.numbers().len(), || format!("{} values for the shape {}", values.len(), actual.shape()))?;
        for (i, (number, value)) in expected.numbers().iter().zip(values).enumerate() {
            if !self.near(*number, value) {
                return Err(Failure::new(format!(
                    "element {i} of {}{} is {value:e} where {:e} is expected (allowed error {:e})",
                    expected.shape(),
                    words(i),
                    number.value,
                    self.relative * number.error
                )));
            }
        }
        Ok(())
    }

    /// Whether `value` may stand for `number`.
    pub fn near(&self, number: Number, value: f64) -> bool {
        let expected = number.value;
        if number.error == f64::INFINITY {
            return true; // Rounding decides: nothing can be said.
        }
        if expected.is_nan() {
            return value.is_nan();
        }
        if expected.abs() > self.huge {
            return value == f64::INFINITY.copysign(expected);
        }
        (value - expected).abs() <= self.relative * number.error + self.tiny
    }
}
