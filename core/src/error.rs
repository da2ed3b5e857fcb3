//! One error type for the whole library, without allocation.

use crate::shape::Shape;
use core::fmt;

/// The result of every operation that can fail.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What went wrong, in which operation, with which shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// Two operands do not fit together.
    Shape {
        /// The operation.
        op: &'static str,
        /// The first operand's shape.
        left: Shape,
        /// The second operand's (or the wanted) shape.
        right: Shape,
    },
    /// A rank that the operation does not take.
    Rank {
        /// The operation.
        op: &'static str,
        /// The rank that was given.
        rank: usize,
    },
    /// An axis, or a range or permutation of axes, outside the shape.
    Axis {
        /// The operation.
        op: &'static str,
        /// The axis (or the end of the range).
        axis: usize,
        /// The operand's shape.
        shape: Shape,
    },
    /// A list of the wrong length.
    Length {
        /// The operation and the list.
        op: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// An index outside an axis.
    Index {
        /// The operation.
        op: &'static str,
        /// The index.
        index: usize,
        /// The length of the axis.
        length: usize,
    },
    /// More elements than can be addressed.
    TooLarge {
        /// The operation.
        op: &'static str,
        /// The shape that overflows.
        shape: Shape,
    },
    /// A number outside its range.
    Range {
        /// The quantity.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The range, in words.
        range: &'static str,
    },
    /// A value that is NaN or infinite.
    NonFinite {
        /// The quantity.
        what: &'static str,
        /// The index of its first such element.
        index: usize,
    },
    /// The operation has no derivative (or none of this order), and its input is tracked.
    NotDifferentiable {
        /// The operation.
        op: &'static str,
    },
    /// The output does not depend on the input by which it is to be differentiated.
    Independent {
        /// The operation.
        op: &'static str,
    },
    /// Two tracked operands that belong to different tapes.
    Tape {
        /// The operation.
        op: &'static str,
    },
    /// Two operands live on different devices.
    DeviceMismatch {
        /// The operation.
        op: &'static str,
    },
    /// The device reported an error of its own.
    Device {
        /// The operation.
        op: &'static str,
        /// The device's code.
        code: i32,
        /// What the code means.
        message: &'static str,
    },
    /// The device has not enough memory.
    OutOfMemory {
        /// The operation.
        op: &'static str,
        /// The bytes asked for.
        bytes: usize,
    },
    /// What was asked for is not offered here.
    Unsupported {
        /// The operation.
        op: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// A callback of the caller's asked to stop.
    Cancelled,
}

/// A number as messages have it: with the fewest digits that tell it from all others, and an exponent where it would else be long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(
    /// The number.
    pub f64,
);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = self;
        let is_short = *value == 0.0 || !value.is_finite() || (1e-4..1e7).contains(&value.abs());
        if is_short { write!(f, "{value}") } else { write!(f, "{value:e}") }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape { op, left, right } => write!(f, "{op}: the shapes {left} and {right} do not fit together"),
            Self::Rank { op, rank } => write!(f, "{op}: a tensor of rank {rank} cannot be used here"),
            Self::Axis { op, axis, shape } => write!(f, "{op}: axis or position {axis} lies outside the shape {shape}"),
            Self::Length { op, expected, found } => write!(f, "{op}: {expected} values are needed, {found} were given"),
            Self::Index { op, index, length } => write!(f, "{op}: index {index} lies outside an axis of length {length}"),
            Self::TooLarge { op, shape } => write!(f, "{op}: the shape {shape} has more elements than can be addressed"),
            Self::Range { what, value, range } => write!(f, "{what} is {}, but must be {range}", Number(*value)),
            Self::NonFinite { what, index } => write!(f, "{what} is NaN or infinite at element {index}"),
            Self::NotDifferentiable { op } => write!(f, "{op}: not differentiable to the order asked for"),
            Self::Independent { op } => write!(f, "{op}: the output does not depend on this input"),
            Self::Tape { op } => write!(f, "{op}: the operands were recorded on different tapes"),
            Self::DeviceMismatch { op } => write!(f, "{op}: the operands live on different devices"),
            Self::Device { op, code, message } => write!(f, "{op}: the device reported error {code} ({message})"),
            Self::OutOfMemory { op, bytes } => write!(f, "{op}: there is no room for {bytes} more bytes"),
            Self::Unsupported { op, what } => write!(f, "{op}: {what}"),
            Self::Cancelled => f.write_str("cancelled by the caller"),
        }
    }
}

impl core::error::Error for Error {}
