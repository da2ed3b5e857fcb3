//! Sums and maxima along an axis, in an order that depends on the shape only.

use crate::buffer::Buffer;
use crate::copy::around;
use crate::device::{CpuDevice, WORTHWHILE};
use crate::float::Float;
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use mfm_core::tensor::Reduce;
use mfm_core::{Result, Tensor};

/// Independent partial results along a row: several vectors of any instruction set.
const LANES: usize = 32;
/// Elements of which each lane adds its own in sequence; longer sums are sums of such blocks, so that the error grows with the logarithm only.
const BLOCK: usize = 1 << 11;
/// Blocks that are one task.
const GROUP: usize = 4;
/// Rows that are added in sequence, for sums along columns.
const ROWS: usize = 128;
/// Columns of partial sums that one task adds.
const SPAN: usize = 1 << 12;

/// An associative operation. `join` must be `#[inline(always)]`.
pub(crate) trait Fold<E>: Copy + Sync {
    fn start(self) -> E;
    fn join(self, a: E, b: E) -> E;
}

#[derive(Clone, Copy)]
pub(crate) struct Sum;
impl<E: Float> Fold<E> for Sum {
    #[inline(always)]
    fn start(self) -> E {
        E::ZERO
    }

    #[inline(always)]
    fn join(self, a: E, b: E) -> E {
        a + b
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Max;
impl<E: Float> Fold<E> for Max {
    #[inline(always)]
    fn start(self) -> E {
        -E::INFINITY
    }

    #[inline(always)]
    fn join(self, a: E, b: E) -> E {
        a.larger(b)
    }
}

/// Folds one block of a row. It is `#[inline(always)]` for the kernels of other modules.
#[inline(always)]
pub(crate) fn fold_block<E: Float, F: Fold<E>>(row: &[E], f: F) -> E {
    let mut lanes = [f.start(); LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = f.join(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = f.join(*lane, x);
    }
    halve::<16, E, F>(&mut lanes, f);
    halve::<8, E, F>(&mut lanes, f);
    halve::<4, E, F>(&mut lanes, f);
    halve::<2, E, F>(&mut lanes, f);
    halve::<1, E, F>(&mut lanes, f);
    lanes[0]
}

/// Folds 2N lanes into N.
#[inline(always)]
fn halve<const N: usize, E: Float, F: Fold<E>>(lanes: &mut [E; LANES], f: F) {
    for i in 0..N {
        lanes[i] = f.join(lanes[i], lanes[i + N]);
    }
}

/// Folds every row of `x` into one element of `out`.
struct FoldRows<'a, E, F> {
    out: &'a mut [E],
    x: &'a [E],
    width: usize,
    f: F,
}

impl<E: Float, F: Fold<E>> Kernel for FoldRows<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        if self.width < LANES {
            for (out, row) in self.out.iter_mut().zip(self.x.chunks_exact(self.width)) {
                *out = row[0];
                for &x in &row[1..] {
                    *out = self.f.join(*out, x);
                }
            }
        } else {
            for (out, row) in self.out.iter_mut().zip(self.x.chunks(self.width)) {
                *out = fold_block(row, self.f);
            }
        }
    }
}

/// Folds `x`, [rows, width], into `out`, [width].
struct FoldColumns<'a, E, F> {
    out: &'a mut [E],
    x: &'a [E],
    f: F,
}

impl<E: Float, F: Fold<E>> Kernel for FoldColumns<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let width = self.out.len();
        let mut rows = self.x.chunks_exact(width);
        match rows.next() {
            Some(first) => self.out.copy_from_slice(first),
            None => self.out.fill(self.f.start()),
        }
        for row in rows {
            for (out, &x) in self.out.iter_mut().zip(row) {
                *out = self.f.join(*out, x);
            }
        }
    }
}

/// As [`mfm_core::Tensor::reduce`].
pub(crate) fn reduce<E: Float>(x: &CpuTensor<E>, op: Reduce, axis: usize) -> Result<CpuTensor<E>> {
    let (_, length, _) = around(x.shape(), axis, "reduce")?;
    if length == 1 {
        return Ok(x.clone());
    }
    match op {
        Reduce::Sum => fold(x, Sum, axis),
        Reduce::Max => fold(x, Max, axis),
    }
}

fn fold<E: Float, F: Fold<E>>(x: &CpuTensor<E>, f: F, axis: usize) -> Result<CpuTensor<E>> {
    let shape = x.shape();
    let (outer, length, inner) = around(shape, axis, "reduce")?;
    let result = shape.with_axis(axis, 1)?;
    let x = x.contiguous()?;
    let device = x.home();
    let values = x.as_slice().unwrap_or_default();
    let mut buffer = device.buffer("reduce", result.elements())?;
    let out = buffer.elements_mut();
    if length == 0 {
        out.fill(f.start());
    } else if inner == 1 {
        fold_rows(device, out, values, length, f)?;
    } else if !out.is_empty() {
        let mut pairs = out.chunks_exact_mut(inner).zip(values.chunks_exact(length * inner));
        // Either there are many outer rows, or each is long.
        if length > 4 * ROWS {
            pairs.try_for_each(|(out, x)| fold_columns(device, out, x, f))?;
        } else {
            let scratch = ("reduce", bands(length) * inner);
            device.each_with_scratch(scratch, outer > 1 && values.len() > WORTHWHILE, pairs, |(out, x), partial| {
                fold_bands(out, x, f, partial);
                Ok(())
            })?;
        }
    }
    Ok(CpuTensor::new(buffer, result))
}

/// Folds every row of `width` elements into one.
fn fold_rows<E: Float, F: Fold<E>>(device: &CpuDevice<E>, out: &mut [E], x: &[E], width: usize, f: F) -> Result<()> {
    let worthwhile = x.len() > WORTHWHILE;
    if width <= 2 * BLOCK {
        let rows = (GROUP * BLOCK / width).max(1);
        let tasks = out.chunks_mut(rows).zip(x.chunks(rows * width));
        return device.each(worthwhile, tasks, |(out, x)| {
            vectorise(FoldRows { out, x, width, f });
            Ok(())
        });
    }
    // First the blocks of every row, then what they gave.
    let blocks = width.div_ceil(BLOCK);
    let mut partial = device.buffer("reduce", out.len() * blocks)?;
    let rows = partial.elements_mut().chunks_exact_mut(blocks).zip(x.chunks_exact(width));
    let tasks = rows.flat_map(|(partial, row)| partial.chunks_mut(GROUP).zip(row.chunks(GROUP * BLOCK)));
    device.each(worthwhile, tasks, |(out, x)| {
        for (out, x) in out.iter_mut().zip(x.chunks(BLOCK)) {
            *out = vectorise(FoldBlock { x, f });
        }
        Ok(())
    })?;
    fold_rows(device, out, partial.elements(), blocks, f)
}

struct FoldBlock<'a, E, F> {
    x: &'a [E],
    f: F,
}

impl<E: Float, F: Fold<E>> Kernel for FoldBlock<'_, E, F> {
    type Output = E;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> E {
        fold_block(self.x, self.f)
    }
}

/// How many bands of rows are folded apart: none if they are few.
fn bands(rows: usize) -> usize {
    if rows <= 2 * ROWS { 0 } else { rows.div_ceil(ROWS) }
}

/// Folds the rows of `x` into one row: first each band into a row of `partial`, unless that is empty.
fn fold_bands<E: Float, F: Fold<E>>(out: &mut [E], x: &[E], f: F, partial: &mut [E]) {
    let width = out.len();
    for (out, x) in partial.chunks_mut(width).zip(x.chunks(ROWS * width)) {
        vectorise(FoldColumns { out, x, f });
    }
    vectorise(FoldColumns { out, x: if partial.is_empty() { x } else { partial }, f });
}

/// Folds the rows of `x` into one row, by all threads.
pub(crate) fn fold_columns<E: Float, F: Fold<E>>(device: &CpuDevice<E>, out: &mut [E], x: &[E], f: F) -> Result<()> {
    let width = out.len();
    let bands = bands(x.len() / width);
    if bands == 0 {
        vectorise(FoldColumns { out, x, f });
        return Ok(());
    }
    let mut partial = device.buffer("reduce", bands * width)?;
    let tasks = partial.elements_mut().chunks_mut(width).zip(x.chunks(ROWS * width));
    device.each(x.len() > WORTHWHILE, tasks, |(out, x)| {
        vectorise(FoldColumns { out, x, f });
        Ok(())
    })?;
    fold_columns(device, out, partial.elements(), f)
}

/// sum += each row of `x`.
pub(crate) fn add_rows<E: Float>(sum: &mut [E], x: &[E]) {
    vectorise(AddRows { sum, x });
}

struct AddRows<'a, E> {
    sum: &'a mut [E],
    x: &'a [E],
}

impl<E: Float> Kernel for AddRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for row in self.x.chunks_exact(self.sum.len().max(1)) {
            for (sum, &x) in self.sum.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }
}

/// The sum of `parts` arrays of `width` elements that follow one another.
pub(crate) fn sum_parts<E: Float>(device: &CpuDevice<E>, all: Buffer<E>, parts: usize, width: usize) -> Result<Buffer<E>> {
    if parts <= 1 {
        return Ok(all);
    }
    let mut sum = device.buffer("sum", width)?;
    let x = all.elements();
    let pieces = sum.elements_mut().chunks_mut(SPAN).enumerate();
    device.each(x.len() > WORTHWHILE, pieces, |(piece, out)| {
        let start = piece * SPAN;
        out.copy_from_slice(&x[start..][..out.len()]);
        for part in 1..parts {
            add_rows(out, &x[part * width + start..][..out.len()]);
        }
        Ok(())
    })?;
    Ok(sum)
}
