//! Batched matrix products.

use crate::copy;
use crate::device::CpuDevice;
use crate::float::Float;
use crate::gemm::{Matrix, product};
use crate::reduce::{Sum, fold_columns};
use crate::tensor::CpuTensor;
use mfm_core::tensor::Transpose;
use mfm_core::{Error, Layout, MAX_RANK, Result, Shape, Tensor};

/// The most rows of one chunk.
pub(crate) const ROWS: usize = 256;
/// Rows from which a transposed right operand is better brought into row-major order once.
pub(crate) const MANY: usize = 64;
/// Multiplications below which threads are not worth their while.
pub(crate) const WORTHWHILE: usize = 1 << 20;
/// The terms of a long sum that are added in one go, and the most parts it is cut into.
const DEPTH: usize = 512;
const PARTS: usize = 16;

/// How many of `rows` rows make a chunk: a few chunks at least, of a good size.
pub(crate) fn chunk_rows(rows: usize) -> usize {
    (rows / 4).next_multiple_of(32).clamp(MANY, ROWS)
}

/// A tensor as a batch of matrices.
struct Stack<'a, E> {
    elements: &'a [E],
    batch: Layout,
    rows: usize,
    columns: usize,
    rows_apart: usize,
    columns_apart: usize,
}

impl<'a, E: Float> Stack<'a, E> {
    fn new(x: &'a CpuTensor<E>, layout: &Layout, transpose: bool) -> Result<Self> {
        let axes = layout.shape.axes();
        let lead = axes.len() - 2;
        let batch = Layout { shape: Shape::new(&axes[..lead])?, ..*layout };
        let (i, j) = if transpose { (lead + 1, lead) } else { (lead, lead + 1) };
        let (rows_apart, columns_apart) = (layout.strides[i], layout.strides[j]);
        Ok(Self { elements: x.elements(), batch, rows: axes[i], columns: axes[j], rows_apart, columns_apart })
    }

    fn stretched(self, batch: Shape) -> Option<Self> {
        Some(Self { batch: self.batch.broadcast(batch)?, ..self })
    }

    /// One matrix of the batch.
    fn matrix(&self, index: usize) -> Matrix<'a, E> {
        let at = if self.rows * self.columns == 0 { self.elements.len() } else { self.batch.at(index) };
        Matrix::new(&self.elements[at..], self.rows, self.columns, self.rows_apart, self.columns_apart)
    }
}

/// As [`mfm_core::Tensor::matmul`].
pub(crate) fn matmul<E: Float>(a: &CpuTensor<E>, b: &CpuTensor<E>, transpose: Transpose) -> Result<CpuTensor<E>> {
    let mismatch = Error::Shape { op: "matmul", left: a.shape(), right: b.shape() };
    if let Some(x) = [a, b].into_iter().find(|x| x.shape().rank() < 2) {
        return Err(Error::Rank { op: "matmul", rank: x.shape().rank() });
    }
    let left = Stack::new(a, a.layout(), transpose.left)?;
    let right = Stack::new(b, b.layout(), transpose.right)?;
    if left.columns != right.rows {
        return Err(mismatch);
    }
    let batch = left.batch.shape.broadcast(&right.batch.shape, "matmul").map_err(|_| mismatch)?;
    let (m, n, k) = (left.rows, right.columns, left.columns);
    let mut axes = [0; MAX_RANK];
    let rank = batch.rank() + 2;
    axes[..batch.rank()].copy_from_slice(batch.axes());
    (axes[rank - 2], axes[rank - 1]) = (m, n);
    let shape = Shape::new(&axes[..rank])?;

    // A batch of left operands on one right operand is one product of more rows.
    let rows = batch.elements() * m;
    let flat = Shape::new(&[rows, k])?;
    let one = right.batch.shape.elements() == 1 && !transpose.left && left.batch.shape.elements() == batch.elements();
    let flattened = a.layout().reshape(flat).filter(|_| one);
    let mut buffer = a.home().buffer("matmul", shape.elements())?;
    let out = buffer.elements_mut();
    if let Some(layout) = flattened {
        single(a.home(), out, Stack::new(a, &layout, false)?.matrix(0), right.matrix(0))?;
    } else if batch.elements() == 1 {
        single(a.home(), out, left.matrix(0), right.matrix(0))?;
    } else if !out.is_empty() {
        let (left, right) = (left.stretched(batch).ok_or(mismatch)?, right.stretched(batch).ok_or(mismatch)?);
        let tasks = out
            .chunks_mut(m * n)
            .enumerate()
            .flat_map(|(index, out)| out.chunks_mut(ROWS * n).enumerate().map(move |(chunk, out)| (index, chunk * ROWS, out)));
        a.home().each(rows.saturating_mul(n).saturating_mul(k) > WORTHWHILE, tasks, |(index, start, out)| {
            product(out, left.matrix(index).band(start, out.len() / n), right.matrix(index), false);
            Ok(())
        })?;
    }
    Ok(CpuTensor::new(buffer, shape))
}

/// One product, by all threads.
pub(crate) fn single<E: Float>(device: &CpuDevice<E>, out: &mut [E], a: Matrix<'_, E>, b: Matrix<'_, E>) -> Result<()> {
    let (m, n, k) = (a.rows(), b.columns(), a.columns());
    if out.is_empty() {
        return Ok(());
    }
    let worthwhile = m.saturating_mul(n).saturating_mul(k) > WORTHWHILE;
    if k >= 4 * DEPTH && m * n <= 1 << 17 {
        // A small result of long sums: the sums are cut.
        let depth = k.div_ceil(PARTS).max(DEPTH);
        let parts = k.div_ceil(depth);
        let mut partial = device.buffer("matmul", parts * m * n)?;
        let tasks = partial.elements_mut().chunks_exact_mut(m * n).enumerate();
        device.each(worthwhile, tasks, |(part, out)| {
            let (start, length) = (part * depth, depth.min(k - part * depth));
            product(out, a.transposed().band(start, length).transposed(), b.band(start, length), false);
            Ok(())
        })?;
        return fold_columns(device, out, partial.elements(), Sum);
    }
    let mut scratch = None;
    if let Some(stored) = b.as_transposed().filter(|_| m >= MANY && n > 8) {
        // Each chunk would bring the right operand into row-major order for itself.
        let mut copy = device.buffer("matmul", k * n)?;
        copy::transpose(device, copy.elements_mut(), stored, k)?;
        scratch = Some(copy);
    }
    let b = scratch.as_ref().map_or(b, |copy| Matrix::row_major(copy.elements(), k, n));
    let size = chunk_rows(m);
    let tasks = out.chunks_mut(size * n).enumerate();
    device.each(worthwhile, tasks, |(chunk, out)| {
        product(out, a.band(chunk * size, out.len() / n), b, false);
        Ok(())
    })
}
