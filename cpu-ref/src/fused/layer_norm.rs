//! (x − mean)/√(variance + ε) · (1 + scale) + shift over the last axis.

use super::{Pulled, Pushed};
use crate::device::WORTHWHILE;
use crate::elementwise::{Map2, function, map2};
use crate::float::Float;
use crate::reduce::{Sum, fold_block};
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use crate::ternary::{Map3, map3};
use crate::walk::TASK;
use alloc::boxed::Box;
use alloc::vec;
use mfm_core::tensor::sum_to;
use mfm_core::{Operations, Result, Tensor};

function!(Map3 Modulate(x, scale, shift) = x.fma::<FMA>(E::ONE + scale, shift));
function!(Map2 Stretch(g, scale) = g * (E::ONE + scale));

/// Each row of `out` with mean 0 and variance 1 (but for ε); 1/√(variance + ε) in `rate`.
struct Normalise<'a, E> {
    out: &'a mut [E],
    rate: &'a mut [E],
    x: &'a [E],
    width: usize,
    epsilon: E,
}

impl<E: Float> Kernel for Normalise<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let share = E::ONE / E::from_f64(self.width as f64);
        let rows = self.out.chunks_exact_mut(self.width).zip(self.x.chunks_exact(self.width));
        for ((out, x), rate) in rows.zip(self.rate) {
            let mean = fold_block(x, Sum) * share;
            for (out, &x) in out.iter_mut().zip(x) {
                *out = (x - mean) * (x - mean);
            }
            let variance = fold_block(out, Sum) * share;
            *rate = E::ONE / (variance + self.epsilon).sqrt();
            for (out, &x) in out.iter_mut().zip(x) {
                *out = (x - mean) * *rate;
            }
        }
    }
}

/// The derivative of [`Normalise`] in either direction: rate (g − mean g − n mean(g n)), n the normalised row.
struct Project<'a, E> {
    out: &'a mut [E],
    normal: &'a [E],
    rate: &'a [E],
    g: &'a [E],
    width: usize,
}

impl<E: Float> Kernel for Project<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let share = E::ONE / E::from_f64(self.width as f64);
        let rows = self.normal.chunks_exact(self.width).zip(self.g.chunks_exact(self.width));
        for ((out, (normal, g)), &rate) in self.out.chunks_exact_mut(self.width).zip(rows).zip(self.rate) {
            for ((out, &n), &g) in out.iter_mut().zip(normal).zip(g) {
                *out = n * g;
            }
            let along = fold_block(out, Sum) * share;
            let mean = fold_block(g, Sum) * share;
            for ((out, &n), &g) in out.iter_mut().zip(normal).zip(g) {
                *out = rate * (g - mean - n * along);
            }
        }
    }
}

/// The operands, if scale and shift broadcast to x, which has a last axis.
fn operands<'a, E: Float>(inputs: &[&'a CpuTensor<E>]) -> Option<[&'a CpuTensor<E>; 3]> {
    let &[x, scale, shift] = inputs else { return None };
    let fits = |y: &CpuTensor<E>| x.shape().broadcast(&y.shape(), "layer_norm").is_ok_and(|shape| shape == x.shape());
    let width = *x.shape().axes().last()?;
    (width > 0 && fits(scale) && fits(shift)).then_some([x, scale, shift])
}

/// The normalised rows and their rates.
fn normalise<E: Float>(x: &CpuTensor<E>, epsilon: f64) -> Result<(CpuTensor<E>, CpuTensor<E>)> {
    let x = x.contiguous()?;
    let (device, shape, values) = (x.home(), x.shape(), x.as_slice().unwrap_or_default());
    let width = shape.axis(shape.rank() - 1)?;
    let mut normal = device.buffer("layer_norm", values.len())?;
    let mut rate = device.buffer("layer_norm", values.len() / width)?;
    let rows = (TASK / width).max(1);
    let tasks = normal.elements_mut().chunks_mut(rows * width).zip(rate.elements_mut().chunks_mut(rows)).zip(values.chunks(rows * width));
    let epsilon = E::from_f64(epsilon);
    device.each(values.len() > WORTHWHILE, tasks, |((out, rate), x)| {
        vectorise(Normalise { out, rate, x, width, epsilon });
        Ok(())
    })?;
    Ok((CpuTensor::new(normal, shape), CpuTensor::new(rate, shape.with_axis(shape.rank() - 1, 1)?)))
}

fn project<E: Float>(normal: &CpuTensor<E>, rate: &CpuTensor<E>, g: &CpuTensor<E>) -> Result<CpuTensor<E>> {
    let g = g.contiguous()?;
    let (device, shape) = (normal.home(), normal.shape());
    let width = shape.axis(shape.rank() - 1)?;
    let slices = [normal, rate, &g].map(|x| x.as_slice().unwrap_or_default());
    let [normal, rate, g] = slices;
    let mut out = device.buffer("layer_norm", normal.len())?;
    let rows = (TASK / width).max(1);
    let parts = normal.chunks(rows * width).zip(rate.chunks(rows)).zip(g.chunks(rows * width));
    let tasks = out.elements_mut().chunks_mut(rows * width).zip(parts);
    device.each(normal.len() > WORTHWHILE, tasks, |(out, ((normal, rate), g))| {
        vectorise(Project { out, normal, rate, g, width });
        Ok(())
    })?;
    Ok(CpuTensor::new(out, shape))
}

/// The layer norm.
pub(super) fn value<E: Float>(epsilon: f64, inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    let Some([x, scale, shift]) = operands(inputs) else { return Ok(None) };
    let (normal, _) = normalise(x, epsilon)?;
    map3("layer_norm", [&normal, scale, shift], Modulate).map(Some)
}

/// The layer norm with its pullback.
pub(super) fn vjp<E: Float>(epsilon: f64, inputs: &[&CpuTensor<E>], needed: &[bool]) -> Result<Pulled<E>> {
    let (Some([x, scale, shift]), &[need_x, need_scale, need_shift]) = (operands(inputs), needed) else { return Ok(None) };
    let (normal, rate) = normalise(x, epsilon)?;
    let y = map3("layer_norm", [&normal, scale, shift], Modulate)?;
    let (scale, shift_shape) = (scale.clone(), shift.shape());
    let pull = move |g: &CpuTensor<E>| {
        let gx = if need_x { Some(project(&normal, &rate, &map2("layer_norm", g, &scale, Stretch)?)?) } else { None };
        let gs = if need_scale { Some(sum_to(&g.mul(&normal)?, scale.shape())?) } else { None };
        let gt = if need_shift { Some(sum_to(g, shift_shape)?) } else { None };
        Ok(vec![gx, gs, gt])
    };
    Ok(Some((y, Box::new(pull))))
}

/// The layer norm with its tangent.
pub(super) fn jvp<E: Float>(epsilon: f64, inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    let (Some([x, scale, shift]), &[tx, ts, tt]) = (operands(inputs), tangents) else { return Ok(None) };
    let (normal, rate) = normalise(x, epsilon)?;
    let y = map3("layer_norm", [&normal, scale, shift], Modulate)?;
    let mut sum = tt.cloned();
    if let Some(ts) = ts {
        let term = normal.mul(ts)?;
        sum = Some(match sum {
            Some(sum) => sum.add(&term)?,
            None => term,
        });
    }
    if let Some(tx) = tx {
        let term = map2("layer_norm", &project(&normal, &rate, tx)?, scale, Stretch)?;
        sum = Some(match sum {
            Some(sum) => sum.add(&term)?,
            None => term,
        });
    }
    let Some(tangent) = sum else { return Ok(None) };
    let tangent = if tangent.shape() == y.shape() { tangent } else { tangent.broadcast(y.shape())? };
    Ok(Some((y, tangent)))
}
