//! Copies: of a view into row-major order, of parts into a whole.

use crate::device::{CpuDevice, WORTHWHILE};
use crate::float::Float;
use crate::tensor::CpuTensor;
use crate::walk::{Pieces, TASK, Walk};
use alloc::borrow::Cow;
use alloc::vec::Vec;
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

/// Writes the transpose of a matrix of `columns` columns, by all threads: `out` is [columns, rows].
pub(crate) fn transpose<E: Float>(device: &CpuDevice<E>, out: &mut [E], matrix: &[E], columns: usize) -> Result<()> {
    let rows = matrix.len() / columns.max(1);
    let bands = out.chunks_mut((TILE * rows).max(1)).enumerate();
    device.each(matrix.len() > WORTHWHILE, bands, |(band, out)| {
        transpose_band(out, rows, &matrix[band * TILE..], columns);
        Ok(())
    })
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
    let mut placed = Vec::with_capacity(parts.len());
    for part in parts {
        placed.push((start, flat(part)?));
        start += part.shape().axes()[axis] * inner;
    }
    let runs = buffer.elements_mut().chunks_mut(TASK).enumerate();
    first.home().each(whole.elements() > WORTHWHILE, runs, |(run, out)| {
        fill(out, run * TASK, width, &placed);
        Ok(())
    })?;
    Ok(CpuTensor::new(buffer, whole))
}

/// A part with one element after another, or a constant as it is.
fn flat<E: Float>(part: &CpuTensor<E>) -> Result<Cow<'_, CpuTensor<E>>> {
    let constant = part.layout().strides.iter().all(|&stride| stride == 0);
    Ok(if constant || part.as_slice().is_some() { Cow::Borrowed(part) } else { Cow::Owned(part.contiguous()?) })
}

/// Writes a run of a whole from element `at` on; `parts` has them with where they begin in a row of `width`.
fn fill<E: Float>(mut out: &mut [E], mut at: usize, width: usize, parts: &[(usize, Cow<'_, CpuTensor<E>>)]) {
    while !out.is_empty() {
        let (row, column) = (at / width, at % width);
        // Of the parts that begin at one place only the last has anything in it.
        let next = parts.partition_point(|(start, _)| *start <= column);
        let (start, part) = &parts[next - 1];
        let end = parts.get(next).map_or(width, |(start, _)| *start);
        let (own, rest) = out.split_at_mut((end - column).min(out.len()));
        match part.as_slice() {
            Some(values) => own.copy_from_slice(&values[row * (end - start) + column - start..][..own.len()]),
            None => own.fill(part.elements()[part.layout().offset]),
        }
        at += own.len();
        out = rest;
    }
}

/// A shape as (before, along, after) an axis.
pub(crate) fn around(shape: Shape, axis: usize, op: &'static str) -> Result<(usize, usize, usize)> {
    let length = *shape.axes().get(axis).ok_or(Error::Axis { op, axis, shape })?;
    Ok((shape.axes()[..axis].iter().product(), length, shape.axes()[axis + 1..].iter().product()))
}
