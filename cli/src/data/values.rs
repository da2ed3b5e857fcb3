//! Numbers that are to be written.

use serde::Serialize;
use std::borrow::Cow;
use std::fmt::{self, Display};

/// The numbers of a table, row after row, in single precision where that holds them well.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// In single precision.
    Single(Vec<f32>),
    /// In double precision.
    Double(Vec<f64>),
}

impl Values {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Single(values) => values.len(),
            Self::Double(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers, rounded to single precision.
    pub fn single(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Single(values) => Cow::Borrowed(values),
            Self::Double(values) => values.iter().map(|value| *value as f32).collect(),
        }
    }

    /// The numbers in double precision.
    pub fn double(&self) -> Cow<'_, [f64]> {
        match self {
            Self::Single(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::Double(values) => Cow::Borrowed(values),
        }
    }

    /// The place of the first number that is NaN or infinite.
    pub fn first_not_finite(&self) -> Option<usize> {
        match self {
            Self::Single(values) => values.iter().position(|value| !value.is_finite()),
            Self::Double(values) => values.iter().position(|value| !value.is_finite()),
        }
    }

    /// Puts others after these numbers, which are in double precision once either are.
    pub fn extend(&mut self, others: Self) {
        match (&mut *self, others) {
            (Self::Single(values), Self::Single(others)) => values.extend(others),
            (Self::Double(values), others) => values.extend(others.double().iter()),
            (Self::Single(_), Self::Double(others)) => *self = Self::Double([self.double().as_ref(), &others].concat()),
        }
    }

    /// The rows of `dimension` numbers.
    pub fn rows(&self, dimension: usize) -> Vec<Row<'_>> {
        match self {
            Self::Single(values) => values.chunks(dimension.max(1)).map(Row::Single).collect(),
            Self::Double(values) => values.chunks(dimension.max(1)).map(Row::Double).collect(),
        }
    }
}

/// A row of [`Values`]. As text its numbers are apart by commas, each in the shortest form that reads back as the same number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Row<'a> {
    /// In single precision.
    Single(&'a [f32]),
    /// In double precision.
    Double(&'a [f64]),
}

impl Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn joined(f: &mut fmt::Formatter<'_>, values: &[impl Display]) -> fmt::Result {
            values.iter().enumerate().try_for_each(|(i, value)| write!(f, "{}{value}", if i == 0 { "" } else { "," }))
        }
        match self {
            Self::Single(values) => joined(f, values),
            Self::Double(values) => joined(f, values),
        }
    }
}
