//! The checks that every entrance of this crate makes.

use mfm_core::{Error, Result, Shape, memory};

/// Checks that a list has `expected` values.
pub(crate) fn length(op: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::Length { op, expected, found }) }
}

/// Checks that all values are finite.
pub(crate) fn finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NonFinite { what, index }),
    }
}

/// Checks that a number is positive and finite.
pub(crate) fn positive(what: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() { Ok(()) } else { Err(Error::Range { what, value, range: "positive and finite" }) }
}

/// The number of rows of `dimension` numbers in a list.
pub(crate) fn rows(op: &'static str, dimension: usize, found: usize) -> Result<usize> {
    if dimension > 0 && found.is_multiple_of(dimension) {
        return Ok(found / dimension);
    }
    Err(Error::Length { op, expected: found.next_multiple_of(dimension.max(1)).max(dimension), found })
}

/// Zeros for `rows` rows, or an error where memory does not suffice.
pub(crate) fn zeros(op: &'static str, rows: usize, dimension: usize) -> Result<Vec<f64>> {
    let (mut values, elements) = reserve(op, &[rows, dimension])?;
    values.resize(elements, 0.0);
    Ok(values)
}

/// Checks that there is memory for numbers of this shape.
pub(crate) fn room(op: &'static str, axes: &[usize]) -> Result<()> {
    reserve(op, axes).map(|_| ())
}

fn reserve(op: &'static str, axes: &[usize]) -> Result<(Vec<f64>, usize)> {
    let elements = Shape::new(axes)?.elements();
    Ok((memory::room(op, elements)?, elements))
}
