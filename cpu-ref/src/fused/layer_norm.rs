//! (x − mean)/√(variance + ε) · (1 + scale) + shift over the last axis.

use super::shared::{Shared, products};
use super::{Pulled, Pushed};
use crate::buffer::Buffer;
use crate::device::WORTHWHILE;
use crate::elementwise::{Map2, function, map2};
use crate::float::Float;
use crate::reduce::{Sum, fold_block};
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use crate::walk::TASK;
use alloc::boxed::Box;
use alloc::vec;
use mfm_core::tensor::sum_to;
use mfm_core::{Operations, Result, Tensor};

function!(Map2 Stretch(g, scale) = g * (E::ONE + scale));

/// The rows from `first` on: normalised to mean 0 and variance 1 (up to ε), scaled and shifted. The normalised rows and 1/√(variance + ε) are kept where
/// there is room for them.
struct Normalise<'a, E: Float> {
    out: &'a mut [E],
    normal: &'a mut [E],
    rate: &'a mut [E],
    x: &'a [E],
    first: usize,
    modulation: &'a Modulation<E>,
    epsilon: E,
}

impl<E: Float> Kernel for Normalise<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { out, normal, rate, x, first, modulation, epsilon } = self;
        let Modulation { scale, shift, width, run } = modulation;
        let share = E::ONE / E::from_f64(*width as f64);
        let (mut own_scale, mut own_shift) = (scale.row(first), shift.row(first));
        for (r, (out, x)) in out.chunks_exact_mut(*width).zip(x.chunks_exact(*width)).enumerate() {
            if (first + r).is_multiple_of(*run) {
                (own_scale, own_shift) = (scale.row(first + r), shift.row(first + r));
            }
            let mean = fold_block(x, Sum) * share;
            for (out, &x) in out.iter_mut().zip(x) {
                *out = (x - mean) * (x - mean);
            }
            let variance = fold_block(out, Sum) * share;
            let own_rate = E::ONE / (variance + epsilon).sqrt();
            if let Some(rate) = rate.get_mut(r) {
                *rate = own_rate;
                for (normal, &x) in normal[r * width..][..*width].iter_mut().zip(x) {
                    *normal = (x - mean) * own_rate;
                }
            }
            for (((out, &x), &scale), &shift) in out.iter_mut().zip(x).zip(own_scale).zip(own_shift) {
                *out = ((x - mean) * own_rate).fma::<FMA>(E::ONE + scale, shift);
            }
        }
    }
}

/// The derivative of the normalisation in either direction: rate (h − mean h − n mean(h n)), n the normalised row, h = g (1 + scale) or, without a scale, g.
struct Project<'a, E: Float> {
    out: &'a mut [E],
    normal: &'a [E],
    rate: &'a [E],
    g: &'a [E],
    first: usize,
    width: usize,
    scale: Option<&'a Shared<E>>,
    /// Room for a row.
    scratch: &'a mut [E],
}

impl<E: Float> Kernel for Project<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { out, normal, rate, g, first, width, scale, scratch } = self;
        let share = E::ONE / E::from_f64(width as f64);
        let rows = normal.chunks_exact(width).zip(g.chunks_exact(width)).zip(rate);
        let mut own_scale = scale.map(|scale| scale.row(first));
        for (r, (out, ((normal, g), &rate))) in out.chunks_exact_mut(width).zip(rows).enumerate() {
            own_scale = match scale {
                Some(scale) if (first + r).is_multiple_of(scale.run) => Some(scale.row(first + r)),
                _ => own_scale,
            };
            match own_scale {
                Some(scale) => {
                    for ((out, &g), &scale) in out.iter_mut().zip(g).zip(scale) {
                        *out = g * (E::ONE + scale);
                    }
                }
                None => out.copy_from_slice(g),
            }
            for ((along, &n), &h) in scratch.iter_mut().zip(normal).zip(out.iter()) {
                *along = n * h;
            }
            let along = fold_block(scratch, Sum) * share;
            let mean = fold_block(out, Sum) * share;
            for (out, &n) in out.iter_mut().zip(normal) {
                *out = rate * (*out - mean - n * along);
            }
        }
    }
}

/// Scale and shift, and how many rows after one another have the same of both.
struct Modulation<E: Float> {
    scale: Shared<E>,
    shift: Shared<E>,
    width: usize,
    run: usize,
}

/// The operands, if scale and shift broadcast to x, which has a last axis and something in it.
fn operands<E: Float>(inputs: &[&CpuTensor<E>]) -> Result<Option<(CpuTensor<E>, Modulation<E>)>> {
    let &[x, scale, shift] = inputs else { return Ok(None) };
    let shape = x.shape();
    let fits = |y: &CpuTensor<E>| shape.broadcast(&y.shape(), "layer_norm").is_ok_and(|both| both == shape);
    let Some(&width) = shape.axes().last().filter(|_| shape.elements() > 0 && fits(scale) && fits(shift)) else { return Ok(None) };
    let (scale, shift) = (Shared::new(scale, shape)?, Shared::new(shift, shape)?);
    let run = scale.run.min(shift.run);
    Ok(Some((x.contiguous()?, Modulation { scale, shift, width, run })))
}

/// The normalised rows and their rates.
struct Kept<E: Float> {
    normal: CpuTensor<E>,
    rate: Buffer<E>,
}

/// The layer norm, and what its derivatives need if that is wanted.
fn forward<E: Float>(x: &CpuTensor<E>, modulation: &Modulation<E>, epsilon: f64, wanted: bool) -> Result<(CpuTensor<E>, Option<Kept<E>>)> {
    let (device, values, width) = (x.home(), x.as_slice().unwrap_or_default(), modulation.width);
    let buffer = |elements: usize| device.buffer("layer_norm", elements);
    let mut out = buffer(values.len())?;
    let mut normal = buffer(if wanted { values.len() } else { 0 })?;
    let mut rate = buffer(if wanted { values.len() / width } else { 0 })?;
    let rows = (TASK / width).max(1);
    let nothing = || core::iter::repeat_with(|| &mut [][..]);
    let kept = normal.elements_mut().chunks_mut(rows * width).chain(nothing()).zip(rate.elements_mut().chunks_mut(rows).chain(nothing()));
    let tasks = out.elements_mut().chunks_mut(rows * width).zip(values.chunks(rows * width)).zip(kept).enumerate();
    let epsilon = E::from_f64(epsilon);
    device.each(values.len() > WORTHWHILE, tasks, |(index, ((out, x), (normal, rate)))| {
        vectorise(Normalise { out, normal, rate, x, first: index * rows, modulation, epsilon });
        Ok(())
    })?;
    let kept = wanted.then(|| Kept { normal: CpuTensor::new(normal, x.shape()), rate });
    Ok((CpuTensor::new(out, x.shape()), kept))
}

impl<E: Float> Kept<E> {
    /// The derivative of the normalisation; with the scale, that of what is then scaled.
    fn project(&self, g: &CpuTensor<E>, scale: Option<&Shared<E>>) -> Result<CpuTensor<E>> {
        let g = g.contiguous()?;
        let (device, shape) = (self.normal.home(), self.normal.shape());
        let width = shape.axis(shape.rank() - 1)?;
        let [normal, g] = [&self.normal, &g].map(|x| x.as_slice().unwrap_or_default());
        let mut out = device.buffer("layer_norm", normal.len())?;
        let rows = (TASK / width).max(1);
        let parts = normal.chunks(rows * width).zip(self.rate.elements().chunks(rows)).zip(g.chunks(rows * width));
        let tasks = out.elements_mut().chunks_mut(rows * width).zip(parts).enumerate();
        device.each_with_scratch(
            ("layer_norm", width),
            normal.len() > WORTHWHILE,
            tasks,
            |(index, (out, ((normal, rate), g))), scratch| {
                vectorise(Project { out, normal, rate, g, first: index * rows, width, scale, scratch });
                Ok(())
            },
        )?;
        Ok(CpuTensor::new(out, shape))
    }
}

/// The layer norm.
pub(super) fn value<E: Float>(epsilon: f64, inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    let Some((x, modulation)) = operands(inputs)? else { return Ok(None) };
    Ok(Some(forward(&x, &modulation, epsilon, false)?.0))
}

/// The layer norm with its pullback.
pub(super) fn vjp<E: Float>(epsilon: f64, inputs: &[&CpuTensor<E>], needed: &[bool]) -> Result<Pulled<E>> {
    let (Some((x, modulation)), &[need_x, need_scale, need_shift]) = (operands(inputs)?, needed) else { return Ok(None) };
    let (y, Some(kept)) = forward(&x, &modulation, epsilon, true)? else { return Ok(None) };
    let (scale_shape, shift_shape) = (inputs[1].shape(), inputs[2].shape());
    let pull = move |g: &CpuTensor<E>| {
        let gx = if need_x { Some(kept.project(g, Some(&modulation.scale))?) } else { None };
        let gs = if need_scale { Some(products(g, &kept.normal, scale_shape)?) } else { None };
        let gt = if need_shift { Some(sum_to(g, shift_shape)?) } else { None };
        Ok(vec![gx, gs, gt])
    };
    Ok(Some((y, Box::new(pull))))
}

/// The layer norm with its tangent.
pub(super) fn jvp<E: Float>(epsilon: f64, inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    let (Some((x, modulation)), &[tx, ts, tt]) = (operands(inputs)?, tangents) else { return Ok(None) };
    let (y, Some(kept)) = forward(&x, &modulation, epsilon, true)? else { return Ok(None) };
    let mut sum = tt.cloned();
    if let Some(ts) = ts {
        let term = kept.normal.mul(ts)?;
        sum = Some(match sum {
            Some(sum) => sum.add(&term)?,
            None => term,
        });
    }
    if let Some(tx) = tx {
        let term = map2("layer_norm", &kept.project(tx, None)?, inputs[1], Stretch)?;
        sum = Some(match sum {
            Some(sum) => sum.add(&term)?,
            None => term,
        });
    }
    let Some(tangent) = sum else { return Ok(None) };
    let tangent = if tangent.shape() == y.shape() { tangent } else { tangent.broadcast(y.shape())? };
    Ok(Some((y, tangent)))
}
