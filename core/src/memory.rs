//! Lists on the host whose length comes from outside: no memory is an error, not the end of the program.

use alloc::vec::Vec;

use crate::{Error, Result};

/// An empty list with room for `count` elements, for the operation that errors name.
///
/// # Errors
/// [`Error::OutOfMemory`] if there is no room, where [`Vec::with_capacity`] would end the process.
pub fn room<N>(op: &'static str, count: usize) -> Result<Vec<N>> {
    let mut list = Vec::new();
    match list.try_reserve_exact(count) {
        Ok(()) => Ok(list),
        Err(_) => Err(Error::OutOfMemory { op, bytes: count.saturating_mul(size_of::<N>()) }),
    }
}

/// The list of `values`, or an error where there is no memory for it.
///
/// # Errors
/// As [`room`].
pub fn list<N>(op: &'static str, values: impl ExactSizeIterator<Item = N>) -> Result<Vec<N>> {
    let mut list = room(op, values.len())?;
    list.extend(values);
    Ok(list)
}

/// A list of `count` times `value`, or an error where there is no memory for it.
///
/// # Errors
/// As [`room`].
pub fn filled<N: Clone>(op: &'static str, value: N, count: usize) -> Result<Vec<N>> {
    list(op, core::iter::repeat_n(value, count))
}
