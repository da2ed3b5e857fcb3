//! Lists on the host whose length somebody else asked for.

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
