//! Copies: of a view into row-major order, of parts into a whole.

use crate::device::WORTHWHILE;
use crate::float::Float;
use crate::tensor::CpuTensor;
use crate::walk::{Pieces, Walk};
use mfm_core::{Error, Result, Shape, Tensor};
use ndarray::{ArrayView, ArrayViewMut, IxDyn, ShapeBuilder};

/// The side of the squares in which a matrix is transposed.
const TILE: usize = 16;

/// The elements of a view, in row-major order in a buffer of their own.
pub(crate) fn contiguous<E: Float>(x: &CpuTensor<E>) -> Result<CpuTensor<E>> {
    let shape = x.shape();
    let elements = shape.elements();
    let mut buffer = x.home().buffer("copy", elements)?;
    let walk = Walk::new(shape, [x.layout()]);
    if elements == 0 {
        return Ok(CpuTensor::new(buffer, shape));
    }
    let (source, out) = (x.elements(), buffer.elements_mut());
    match (walk.steps(), walk.matrix()) {
        ([step @ (0 | 1)], _) => {
            let pieces = Pieces::new(out, walk.width());
            x.home().each(elements > WORTHWHILE, pieces, |piece| {
                for (r, row) in piece.out.chunks_exact_mut(piece.width).enumerate() {
                    let [at] = walk.row(piece.row + r);
                    if step == 0 {
                        row.fill(source[at]);
                    } else {
                        row.copy_from_slice(&source[at + piece.column..][..row.len()]);
                    }
                }
                Ok(())
            })?;
        }
        (_, Some((columns, stride))) => {
            // A transposed matrix: rows of the result are columns of the source.
            let source = &source[x.layout().offset..];
            let bands = out.chunks_mut(TILE * columns).enumerate();
            x.home().each(elements > WORTHWHILE, bands, |(band, out)| {
                transpose_band(out, columns, &source[band * TILE..], stride);
                Ok(())
            })?;
        }
        _ => general(out, x)?,
    }
    Ok(CpuTensor::new(buffer, shape))
}

/// `rows` of `columns` elements, whose element (i, j) is `source[i + j stride]`.
fn transpose_band<E: Float>(out: &mut [E], columns: usize, source: &[E], stride: usize) {
    let rows = out.len() / columns;
    for start in (0..columns).step_by(TILE) {
        let end = (start + TILE).min(columns);
        for i in 0..rows {
            let row = &mut out[i * columns..][start..end];
            for (j, slot) in row.iter_mut().enumerate() {
                *slot = source[i + (start + j) * stride];
            }
        }
    }
}

/// Writes the transpose of a matrix of `columns` columns: `out` is [columns, rows].
pub(crate) fn transpose<E: Float>(out: &mut [E], matrix: &[E], columns: usize) {
    let rows = matrix.len() / columns.max(1);
    for (band, out) in out.chunks_mut((TILE * rows).max(1)).enumerate() {
        transpose_band(out, rows, &matrix[band * TILE..], columns);
    }
}

/// Any strides: ndarray's own walk.
fn general<E: Float>(out: &mut [E], x: &CpuTensor<E>) -> Result<()> {
    let layout = x.layout();
    let rank = layout.shape.rank();
    let failed = |_| Error::Unsupported { op: "copy", what: "a view that leaves its buffer" };
    let strided = IxDyn(layout.shape.axes()).strides(IxDyn(&layout.strides[..rank]));
    let from = ArrayView::from_shape(strided, &x.elements()[layout.range()]).map_err(failed)?;
    let mut to = ArrayViewMut::from_shape(IxDyn(layout.shape.axes()), out).map_err(failed)?;
    to.assign(&from);
    Ok(())
}

/// As [`mfm_core::Tensor::concat`].
pub(crate) fn concat<E: Float>(parts: &[&CpuTensor<E>], axis: usize) -> Result<CpuTensor<E>> {
    let first = *parts.first().ok_or(Error::Length { op: "concat", expected: 1, found: 0 })?;
    let shape = first.shape();
    let mut length = shape.axes().get(axis).map(|_| 0usize).ok_or(Error::Axis { op: "concat", axis, shape })?;
    for part in parts {
        let other = part.shape();
        let fits = other.rank() == shape.rank() && other.axes().iter().zip(shape.axes()).enumerate().all(|(i, (a, b))| i == axis || a == b);
        if !fits {
            return Err(Error::Shape { op: "concat", left: shape, right: other });
        }
        length = length.checked_add(other.axes()[axis]).ok_or(Error::TooLarge { op: "concat", shape: other })?;
    }
    let whole = shape.with_axis(axis, length)?;
    let inner: usize = shape.axes()[axis + 1..].iter().product();
    let mut buffer = first.home().buffer("concat", whole.elements())?;
    let width = length * inner;
    let mut start = 0;
    for part in parts {
        let own = part.shape().axes()[axis] * inner;
        place(&mut buffer.elements_mut()[start.min(whole.elements())..], width, own, part)?;
        start += own;
    }
    Ok(CpuTensor::new(buffer, whole))
}

/// Writes a part's elements, `own` of them in every `width`.
fn place<E: Float>(out: &mut [E], width: usize, own: usize, part: &CpuTensor<E>) -> Result<()> {
    if own == 0 || width == 0 || part.shape().elements() == 0 {
        return Ok(());
    }
    let layout = part.layout();
    if layout.strides.iter().all(|&stride| stride == 0) {
        // A constant.
        out.chunks_mut(width).for_each(|row| row[..own].fill(part.elements()[layout.offset]));
        return Ok(());
    }
    let whole;
    let values = match part.as_slice() {
        Some(values) => values,
        None => {
            whole = part.contiguous()?;
            whole.as_slice().unwrap_or_default()
        }
    };
    for (row, values) in out.chunks_mut(width).zip(values.chunks_exact(own)) {
        row[..own].copy_from_slice(values);
    }
    Ok(())
}

/// A shape as (before, along, after) an axis.
pub(crate) fn around(shape: Shape, axis: usize, op: &'static str) -> Result<(usize, usize, usize)> {
    let length = *shape.axes().get(axis).ok_or(Error::Axis { op, axis, shape })?;
    Ok((shape.axes()[..axis].iter().product(), length, shape.axes()[axis + 1..].iter().product()))
}
