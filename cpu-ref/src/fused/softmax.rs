//! Softmax and log-mean-exp along an axis.

use super::{Pulled, Pushed};
use crate::device::{CpuDevice, WORTHWHILE};
use crate::float::Float;
use crate::reduce::{Max, Sum, fold_block};
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use crate::walk::TASK;
use alloc::boxed::Box;
use alloc::vec;
use mfm_core::{MAX_RANK, Operations, Result, Shape, Tensor};

/// The axis as the last one, contiguous; `None` if there is no such axis, or if it is empty.
fn last<E: Float>(x: &CpuTensor<E>, axis: usize) -> Result<Option<CpuTensor<E>>> {
    let rank = x.shape().rank();
    if axis >= rank || x.shape().axes()[axis] == 0 {
        return Ok(None);
    }
    if axis + 1 == rank { x.contiguous().map(Some) } else { exchanged(x, axis)?.contiguous().map(Some) }
}

/// The axis and the last one exchanged, which also undoes itself.
fn exchanged<E: Float>(x: &CpuTensor<E>, axis: usize) -> Result<CpuTensor<E>> {
    let rank = x.shape().rank();
    let mut order: [usize; MAX_RANK] = core::array::from_fn(|i| i);
    order.swap(axis, rank - 1);
    x.permute(&order[..rank])
}

/// e^(x − max)/Σ of each row in `out`, and of each row the logarithm of the mean, in `log` (if it is not empty).
struct Exponentials<'a, E> {
    out: &'a mut [E],
    log: &'a mut [E],
    x: &'a [E],
    width: usize,
}

impl<E: Float> Kernel for Exponentials<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let count = E::from_f64(self.width as f64);
        let mut logs = self.log.iter_mut();
        for (out, x) in self.out.chunks_exact_mut(self.width).zip(self.x.chunks_exact(self.width)) {
            let maximum = fold_block(x, Max);
            let maximum = if maximum == -E::INFINITY { E::ZERO } else { maximum };
            for (out, &x) in out.iter_mut().zip(x) {
                *out = (x - maximum).exp::<FMA>();
            }
            let sum = fold_block(out, Sum);
            for out in out.iter_mut() {
                *out = *out / sum;
            }
            if let Some(log) = logs.next() {
                *log = (sum / count).ln::<FMA>() + maximum;
            }
        }
    }
}

/// Softmax's derivative in either direction: p (g − Σ p g), row by row.
struct Slope<'a, E> {
    out: &'a mut [E],
    p: &'a [E],
    g: &'a [E],
    width: usize,
}

impl<E: Float> Kernel for Slope<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let rows = self.p.chunks_exact(self.width).zip(self.g.chunks_exact(self.width));
        for (out, (p, g)) in self.out.chunks_exact_mut(self.width).zip(rows) {
            for ((out, &p), &g) in out.iter_mut().zip(p).zip(g) {
                *out = p * g;
            }
            let sum = fold_block(out, Sum);
            for ((out, &p), &g) in out.iter_mut().zip(p).zip(g) {
                *out = p * (g - sum);
            }
        }
    }
}

fn rows_per_task(width: usize) -> usize {
    (TASK / width).max(1)
}

/// The softmax of contiguous rows; with the log-mean-exp of each if `wanted`.
fn forward<E: Float>(x: &CpuTensor<E>, wanted: bool) -> Result<(CpuTensor<E>, Option<CpuTensor<E>>)> {
    let device = x.home();
    let (shape, values) = (x.shape(), x.as_slice().unwrap_or_default());
    let width = shape.axis(shape.rank() - 1)?;
    let rows = values.len() / width;
    let mut p = device.buffer("softmax", values.len())?;
    let mut log = device.buffer("softmax", if wanted { rows } else { 0 })?;
    let task = rows_per_task(width);
    let logs = log.elements_mut().chunks_mut(task).chain(core::iter::repeat_with(|| &mut [][..]));
    let tasks = p.elements_mut().chunks_mut(task * width).zip(values.chunks(task * width)).zip(logs);
    device.each(values.len() > WORTHWHILE, tasks, |((out, x), log)| {
        vectorise(Exponentials { out, log, x, width });
        Ok(())
    })?;
    let log = if wanted { Some(CpuTensor::new(log, shape.with_axis(shape.rank() - 1, 1)?)) } else { None };
    Ok((CpuTensor::new(p, shape), log))
}

fn slope<E: Float>(device: &CpuDevice<E>, p: &CpuTensor<E>, g: &CpuTensor<E>, shape: Shape) -> Result<CpuTensor<E>> {
    let width = shape.axis(shape.rank() - 1)?;
    let g = g.contiguous()?;
    let (p, g) = (p.as_slice().unwrap_or_default(), g.as_slice().unwrap_or_default());
    let mut out = device.buffer("softmax", p.len())?;
    let size = rows_per_task(width) * width;
    let tasks = out.elements_mut().chunks_mut(size).zip(p.chunks(size).zip(g.chunks(size)));
    device.each(p.len() > WORTHWHILE, tasks, |(out, (p, g))| {
        vectorise(Slope { out, p, g, width });
        Ok(())
    })?;
    Ok(CpuTensor::new(out, shape))
}

/// Softmax.
pub(super) fn value<E: Float>(axis: usize, inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    let [x] = inputs else { return Ok(None) };
    let Some(rows) = last(x, axis)? else { return Ok(None) };
    exchanged(&forward(&rows, false)?.0, axis).map(Some)
}

/// Softmax with its pullback.
pub(super) fn vjp<E: Float>(axis: usize, inputs: &[&CpuTensor<E>]) -> Result<Pulled<E>> {
    let [x] = inputs else { return Ok(None) };
    let Some(rows) = last(x, axis)? else { return Ok(None) };
    let (p, _) = forward(&rows, false)?;
    let y = exchanged(&p, axis)?;
    let pull = move |g: &CpuTensor<E>| {
        let slope = slope(p.home(), &p, &exchanged(g, axis)?, p.shape())?;
        Ok(vec![Some(exchanged(&slope, axis)?)])
    };
    Ok(Some((y, Box::new(pull))))
}

/// Softmax with its tangent.
pub(super) fn jvp<E: Float>(axis: usize, inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    let ([x], [Some(tangent)]) = (inputs, tangents) else { return Ok(None) };
    let Some(rows) = last(x, axis)?.filter(|_| tangent.shape() == x.shape()) else { return Ok(None) };
    let (p, _) = forward(&rows, false)?;
    let pushed = slope(p.home(), &p, &exchanged(tangent, axis)?, p.shape())?;
    Ok(Some((exchanged(&p, axis)?, exchanged(&pushed, axis)?)))
}

/// log((1/n) Σ eˣ).
pub(super) fn log_mean<E: Float>(axis: usize, inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    Ok(log_mean_parts(axis, inputs)?.map(|(value, _)| value))
}

/// log((1/n) Σ eˣ) and the softmax, its derivative.
fn log_mean_parts<E: Float>(axis: usize, inputs: &[&CpuTensor<E>]) -> Result<Option<(CpuTensor<E>, CpuTensor<E>)>> {
    let [x] = inputs else { return Ok(None) };
    let Some(rows) = last(x, axis)? else { return Ok(None) };
    let (p, Some(log)) = forward(&rows, true)? else { return Ok(None) };
    Ok(Some((exchanged(&log, axis)?, exchanged(&p, axis)?)))
}

/// log((1/n) Σ eˣ) with its pullback.
pub(super) fn log_mean_vjp<E: Float>(axis: usize, inputs: &[&CpuTensor<E>]) -> Result<Pulled<E>> {
    let Some((value, p)) = log_mean_parts(axis, inputs)? else { return Ok(None) };
    Ok(Some((value, Box::new(move |g| Ok(vec![Some(p.mul(g)?)])))))
}

/// log((1/n) Σ eˣ) with its tangent.
pub(super) fn log_mean_jvp<E: Float>(axis: usize, inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    let (Some((value, p)), [Some(tangent)]) = (log_mean_parts(axis, inputs)?, tangents) else { return Ok(None) };
    if tangent.shape() != p.shape() {
        return Ok(None);
    }
    Ok(Some((value, p.mul(tangent)?.sum(axis)?)))
}
