//! A table of numbers from a file, and how it becomes a data set.

use super::Dataset;
use crate::failure::{Failure, Result};
use mfm_core::error::Number;
use std::str::FromStr;

/// A table of finite numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// The numbers, row after row; at least one.
    pub values: Vec<f64>,
    /// The numbers in a row; at least one.
    pub columns: usize,
}

/// Which column holds the labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelColumn {
    /// None does.
    #[default]
    None,
    /// The first.
    First,
    /// The last.
    Last,
    /// The n-th, counted from 1.
    Number(usize),
}

impl FromStr for LabelColumn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "first" => Ok(Self::First),
            "last" => Ok(Self::Last),
            _ => match text.parse() {
                Ok(number) if number > 0 => Ok(Self::Number(number)),
                _ => Err("it must be none, first, last, or the number of a column, counted from 1".into()),
            },
        }
    }
}

/// Splits the labels from the numbers.
pub(super) fn into_dataset(numbers: Numbers, labels: LabelColumn, source: &str) -> Result<Dataset> {
    let Numbers { values, columns } = numbers;
    let label = match labels {
        LabelColumn::None => None,
        LabelColumn::First => Some(0),
        LabelColumn::Last => Some(columns - 1),
        LabelColumn::Number(number) => Some(number - 1),
    };
    let place = |row: usize, column: usize| format!("{source}: row {}, column {}", row + 1, column + 1);
    if let Some(label) = label {
        if label >= columns {
            return Err(Failure::input(format!("{source}: column {} is to hold the labels, but there are only {columns}", label + 1)));
        }
        if columns == 1 {
            return Err(Failure::input(format!("{source}: its only column holds the labels, so no data are left")));
        }
    }
    let mut found = Vec::new();
    let mut exact_rows = Vec::with_capacity(values.len());
    for (i, value) in values.into_iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        if label == Some(column) {
            // Beyond that, an embedding of the labels would not fit anywhere.
            if value < 0.0 || value.fract() != 0.0 || value > 65_535.0 {
                return Err(Failure::input(format!(
                    "{}: the label {} is not a whole number between 0 and 65535",
                    place(row, column),
                    Number(value)
                )));
            }
            found.push(value as usize);
        } else if (value as f32).is_infinite() {
            return Err(Failure::input(format!("{}: {} is too large for single precision", place(row, column), Number(value))));
        } else {
            exact_rows.push(value);
        }
    }
    let rows: Vec<f32> = exact_rows.iter().map(|value| *value as f32).collect();
    if rows.iter().zip(&exact_rows).all(|(row, exact)| f64::from(*row) == *exact) {
        exact_rows = Vec::new();
    }
    let dimension = columns - usize::from(label.is_some());
    let labels = label.map(|_| found);
    Ok(Dataset { rows, exact: exact_rows, dimension, labels, source: source.to_owned(), ..Dataset::default() })
}
