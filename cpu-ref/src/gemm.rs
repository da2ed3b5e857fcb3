//! The matrix product of one chunk, on one thread.

#[cfg(feature = "std")]
use crate::dots::{Rows, dots};
use crate::float::Float;
#[cfg(feature = "std")]
use crate::panel::panel;

/// Up to how many rows a product by a row-major operand is faster without bringing that operand into blocks.
#[cfg(feature = "std")]
const FEW_ROWS: usize = 64;

/// A matrix within a slice: element (i, j) is `elements[i rows_apart + j columns_apart]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, E> {
    elements: &'a [E],
    rows: usize,
    columns: usize,
    rows_apart: usize,
    columns_apart: usize,
}

impl<'a, E: Float> Matrix<'a, E> {
    /// # Panics
    /// If the last element lies outside the slice.
    pub fn new(elements: &'a [E], rows: usize, columns: usize, rows_apart: usize, columns_apart: usize) -> Self {
        let inside = rows == 0 || columns == 0 || (rows - 1) * rows_apart + (columns - 1) * columns_apart < elements.len();
        assert!(inside, "a matrix must lie within its slice");
        Self { elements, rows, columns, rows_apart, columns_apart }
    }

    /// Row after row.
    pub fn row_major(elements: &'a [E], rows: usize, columns: usize) -> Self {
        Self::new(elements, rows, columns, columns, 1)
    }

    /// With rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            rows_apart: self.columns_apart,
            columns_apart: self.rows_apart,
            elements: self.elements,
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The elements of the transpose, if that is row-major without gaps.
    pub fn as_transposed(&self) -> Option<&'a [E]> {
        let fits = self.rows_apart == 1 && self.columns_apart == self.rows && self.columns > 1;
        self.elements.get(..self.rows * self.columns).filter(|_| fits)
    }

    #[cfg(feature = "std")]
    /// The rows, whose elements follow one another.
    fn as_rows(self) -> Rows<'a, E> {
        Rows { elements: self.elements, count: self.rows, length: self.columns, apart: self.rows_apart }
    }

    /// Some of the rows.
    pub fn band(self, start: usize, rows: usize) -> Self {
        let elements = if rows * self.columns == 0 { &[] } else { &self.elements[start * self.rows_apart..] };
        Self::new(elements, rows, self.columns, self.rows_apart, self.columns_apart)
    }
}

/// out = a b, or out += a b; `out` is row-major.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn product<E: Float>(out: &mut [E], a: Matrix<'_, E>, b: Matrix<'_, E>, accumulate: bool) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert!(b.rows == k && out.len() == m * n, "the shapes of a matrix product must fit");
    if k == 0 || m == 0 || n == 0 {
        if !accumulate {
            out.fill(E::ZERO);
        }
        return;
    }
    // Few rows or columns: the general product would spend its time on bringing the operands into another order.
    #[cfg(feature = "std")]
    if (n <= 8 || (2..=48).contains(&m)) && !accumulate && k >= 16 && a.columns_apart == 1 && b.rows_apart == 1 {
        return dots(out, a.as_rows(), b.transposed().as_rows());
    }
    #[cfg(feature = "std")]
    if m <= FEW_ROWS && !accumulate && n >= 16 && a.columns_apart == 1 && b.columns_apart == 1 {
        return panel(out, a.as_rows(), b.as_rows());
    }
    #[cfg(feature = "std")]
    if crate::caches::are_known() {
        return by_blocks(out, a, b, accumulate);
    }
    plain(out, a, b, accumulate);
}

/// By the `gemm` crates, which cut the operands to the caches.
#[cfg(feature = "std")]
fn by_blocks<E: Float>(out: &mut [E], a: Matrix<'_, E>, b: Matrix<'_, E>, accumulate: bool) {
    // A slice has at most isize::MAX elements, so its strides fit.
    let stride = |apart: usize| apart as isize;
    // The product writes by columns: outᵀ = bᵀ aᵀ.
    let (left, right) = (b.transposed(), a.transposed());
    // SAFETY: the three matrices lie within their slices (checked by `Matrix::new` and by `product`), `out` is not aliased, and
    // what it holds is initialised even where it is not read.
    unsafe {
        E::product()(
            left.rows,
            right.columns,
            left.columns,
            out.as_mut_ptr(),
            stride(left.rows),
            1,
            accumulate,
            left.elements.as_ptr(),
            stride(left.columns_apart),
            stride(left.rows_apart),
            right.elements.as_ptr(),
            stride(right.columns_apart),
            stride(right.rows_apart),
            E::ONE,
            E::ONE,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
        );
    }
}

/// By ndarray.
fn plain<E: Float>(out: &mut [E], a: Matrix<'_, E>, b: Matrix<'_, E>, accumulate: bool) {
    use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder, ShapeError, linalg};

    fn view<E>(x: Matrix<'_, E>) -> Result<ArrayView2<'_, E>, ShapeError> {
        ArrayView2::from_shape((x.rows, x.columns).strides((x.rows_apart, x.columns_apart)), x.elements)
    }
    let (m, n) = (a.rows, b.columns);
    if let (Ok(a), Ok(b), Ok(mut out)) = (view(a), view(b), ArrayViewMut2::from_shape((m, n), out)) {
        linalg::general_mat_mul(E::ONE, &a, &b, if accumulate { E::ONE } else { E::ZERO }, &mut out);
    }
}
