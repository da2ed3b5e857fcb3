//! Matrices whose rows have no gaps in them, as operands of small products.

/// The rows of a matrix, each contiguous; element (i, j) is `elements[i apart + j]`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, E> {
    pub elements: &'a [E],
    pub apart: usize,
}

impl<'a, E> View<'a, E> {
    /// Rows that begin `apart` elements from one another.
    pub fn new(elements: &'a [E], apart: usize) -> Self {
        Self { elements, apart }
    }
}

/// The left operand of a product.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a, E> {
    /// A matrix.
    Rows(View<'a, E>),
    /// The transpose of a matrix.
    Columns(View<'a, E>),
}
