//! What can end a training run.

use alloc::string::String;
use core::fmt;
use mfm_core::Error;

/// Why a training step was not made; the parameters are as they were before it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrainError {
    /// An operation, the data source or the loss failed.
    Tensor(Error),
    /// A loss is NaN or infinite.
    Loss {
        /// Its name.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The step, counted from 1.
        step: u64,
    },
    /// The gradient is NaN or infinite.
    Gradient {
        /// The parameter.
        parameter: String,
        /// The first such element of it.
        index: usize,
        /// The step, counted from 1.
        step: u64,
    },
    /// The step would make a parameter NaN or infinite.
    Parameter {
        /// The parameter.
        parameter: String,
        /// The first such element of it.
        index: usize,
        /// The step, counted from 1.
        step: u64,
    },
    /// Every element of the gradient is finite, but its norm overflows.
    Overflow {
        /// What overflows.
        what: &'static str,
        /// The step, counted from 1.
        step: u64,
    },
}

impl From<Error> for TrainError {
    fn from(error: Error) -> Self {
        Self::Tensor(error)
    }
}

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(error) => error.fmt(f),
            Self::Loss { what, value, step } => write!(f, "step {step}: the {what} is {value}; nothing was changed"),
            Self::Gradient { parameter, index, step } => {
                write!(f, "step {step}: the gradient by {parameter} is NaN or infinite at element {index}; nothing was changed")
            }
            Self::Parameter { parameter, index, step } => {
                write!(f, "step {step}: it would make {parameter} NaN or infinite at element {index}; nothing was changed")
            }
            Self::Overflow { what, step } => write!(f, "step {step}: {what} is not finite; nothing was changed"),
        }
    }
}

impl core::error::Error for TrainError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Tensor(error) => Some(error),
            _ => None,
        }
    }
}
