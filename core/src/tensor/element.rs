//! The number types in which the host speaks to a device.

use core::fmt::Debug;

/// A host number: f32 or f64.
pub trait Element: Copy + Debug + PartialEq + 'static {
    /// The value as f64, exactly.
    fn to_f64(self) -> f64;
    /// The nearest value to `value`.
    fn from_f64(value: f64) -> Self;
}

impl Element for f32 {
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn from_f64(value: f64) -> Self {
        value as f32
    }
}

impl Element for f64 {
    fn to_f64(self) -> f64 {
        self
    }

    fn from_f64(value: f64) -> Self {
        value
    }
}
