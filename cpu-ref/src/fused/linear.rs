//! act(x Wᵀ + b), chunk by chunk: bias and activation are applied while a chunk's product is in the cache.

use super::activation::{finish, keep, multiply};
use super::{Pulled, Pushed};
use crate::buffer::Buffer;
use crate::copy::transpose;
use crate::device::CpuDevice;
use crate::float::Float;
use crate::gemm::{Matrix, product};
use crate::matmul::{MANY, WORTHWHILE, chunk_rows};
use crate::outer::{FEW, outer_sum};
use crate::reduce::sum_parts;
use crate::tensor::CpuTensor;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec;
use mfm_core::tensor::{Activation, Fused};
use mfm_core::{Result, Shape, Tensor};

/// The layer's operands, in the form that the loops take.
struct Layer<'a, E: Float> {
    activation: Activation,
    x: Cow<'a, CpuTensor<E>>,
    weight: Cow<'a, CpuTensor<E>>,
    bias: Option<Cow<'a, CpuTensor<E>>>,
    rows: usize,
    inner: usize,
    out: usize,
    shape: Shape,
}

/// `x` with one element after another, in place where they lie so.
#[inline(always)]
fn whole<E: Float>(x: &CpuTensor<E>) -> Result<Cow<'_, CpuTensor<E>>> {
    Ok(if x.as_slice().is_some() { Cow::Borrowed(x) } else { Cow::Owned(x.contiguous()?) })
}

fn rows_of<E: Float>(x: &CpuTensor<E>) -> &[E] {
    x.as_slice().unwrap_or_default()
}

/// A weight, [out, in], as the right operand of x Wᵀ, [in, out].
struct Right<E: Float> {
    copy: Option<Buffer<E>>,
}

impl<E: Float> Right<E> {
    /// Copied into row-major order if many chunks use it.
    fn new(device: &CpuDevice<E>, weight: &CpuTensor<E>, rows: usize) -> Result<Self> {
        let Some(elements) = weight.as_slice().filter(|_| rows >= MANY && weight.shape().batch() > 8) else {
            return Ok(Self { copy: None });
        };
        let mut copy = device.buffer("linear", elements.len())?;
        transpose(device, copy.elements_mut(), elements, weight.shape().item())?;
        Ok(Self { copy: Some(copy) })
    }

    fn matrix<'a>(&'a self, weight: &'a CpuTensor<E>) -> Matrix<'a, E> {
        let (out, inner) = (weight.shape().batch(), weight.shape().item());
        match &self.copy {
            Some(copy) => Matrix::row_major(copy.elements(), inner, out),
            None => left(weight).transposed(),
        }
    }
}

/// A weight as the matrix that it is, [out, in].
pub(super) fn left<E: Float>(weight: &CpuTensor<E>) -> Matrix<'_, E> {
    let layout = weight.layout();
    let (out, inner) = (layout.shape.batch(), layout.shape.item());
    let elements = if out * inner == 0 { &[] } else { &weight.elements()[layout.offset..] };
    Matrix::new(elements, out, inner, layout.strides[0], layout.strides[1])
}

impl<'a, E: Float> Layer<'a, E> {
    /// `None` if the shapes do not fit.
    #[inline(always)] // Moving it takes longer than making it.
    fn new(activation: Activation, inputs: &[&'a CpuTensor<E>]) -> Result<Option<Self>> {
        let [x, weight, bias @ ..] = inputs else { return Ok(None) };
        let bias = match bias {
            [] => None,
            [bias] => Some(*bias),
            _ => return Ok(None),
        };
        let Ok((rows, inner, out)) = Fused::linear_shape(x.shape(), weight.shape(), bias.map(CpuTensor::shape)) else { return Ok(None) };
        let shape = x.shape().with_axis(x.shape().rank() - 1, out)?;
        let bias = bias.map(whole).transpose()?;
        Ok(Some(Self { activation, x: whole(x)?, weight: Cow::Borrowed(weight), bias, rows, inner, out, shape }))
    }

    /// The same, for as long as it is wanted.
    fn kept(self) -> Layer<'static, E> {
        let Self { activation, x, weight, bias, rows, inner, out, shape } = self;
        let kept = |tensor: Cow<'_, CpuTensor<E>>| Cow::Owned(tensor.into_owned());
        Layer { activation, x: kept(x), weight: kept(weight), bias: bias.map(kept), rows, inner, out, shape }
    }

    fn bias(&self) -> Option<&[E]> {
        self.bias.as_deref().map(rows_of)
    }

    fn worthwhile(&self) -> bool {
        self.rows.saturating_mul(self.inner + 16).saturating_mul(self.out) > WORTHWHILE
    }

    /// The value, and the slope of the activation if it is wanted (and there is one).
    #[inline(always)] // As above.
    fn forward(&self, wanted: bool) -> Result<(CpuTensor<E>, Option<CpuTensor<E>>)> {
        let device = self.x.home();
        let right = Right::new(device, &self.weight, self.rows)?;
        let right = right.matrix(&self.weight);
        let x = Matrix::row_major(rows_of(&self.x), self.rows, self.inner);
        let (activation, bias, chunk_rows) = (self.activation, self.bias(), chunk_rows(self.rows));
        let size = (chunk_rows * self.out).max(1);
        let mut y = device.buffer("linear", self.rows * self.out)?;
        let chunks = y.elements_mut().chunks_mut(size).enumerate();
        if !wanted || activation == Activation::Identity {
            device.each(self.worthwhile(), chunks, |(chunk, y)| {
                product(y, x.band(chunk * chunk_rows, y.len() / self.out), right, false);
                finish(activation, y, bias);
                Ok(())
            })?;
            return Ok((CpuTensor::new(y, self.shape), None));
        }
        let mut slope = device.buffer("linear", self.rows * self.out)?;
        device.each(self.worthwhile(), chunks.zip(slope.elements_mut().chunks_mut(size)), |((chunk, y), z)| {
            product(z, x.band(chunk * chunk_rows, y.len() / self.out), right, false);
            keep(activation, z, y, bias);
            Ok(())
        })?;
        Ok((CpuTensor::new(y, self.shape), Some(CpuTensor::new(slope, self.shape))))
    }
}

/// act(x Wᵀ + b).
pub(super) fn value<E: Float>(activation: Activation, inputs: &[&CpuTensor<E>]) -> Result<Option<CpuTensor<E>>> {
    let Some(layer) = Layer::new(activation, inputs)? else { return Ok(None) };
    Ok(Some(layer.forward(false)?.0))
}

/// act(x Wᵀ + b) with its pullback.
pub(super) fn vjp<E: Float>(activation: Activation, inputs: &[&CpuTensor<E>], needed: &[bool]) -> Result<Pulled<E>> {
    let Some(layer) = Layer::new(activation, inputs)? else { return Ok(None) };
    let layer = layer.kept();
    let (y, slope) = layer.forward(true)?;
    let need = [0, 1, 2].map(|i| needed.get(i).copied().unwrap_or(false));
    let (inputs, x_shape) = (inputs.len(), inputs.first().map_or(Shape::SCALAR, |x| x.shape()));
    let pull = move |g: &CpuTensor<E>| {
        let parts = layer.pull(slope.as_ref(), g, need)?;
        let [gx, gw, gb] = parts;
        let gx = gx.map(|gx| gx.reshape(x_shape)).transpose()?;
        let mut all = vec![gx, gw];
        if inputs == 3 {
            all.push(gb);
        }
        Ok(all)
    };
    Ok(Some((y, Box::new(pull))))
}

/// One task of the backward pass: some chunks of rows, whose share of the weight's gradient it sums.
struct Group<'a, E> {
    start: usize,
    rows: usize,
    gx: Option<&'a mut [E]>,
    gw: Option<&'a mut [E]>,
    gb: Option<&'a mut [E]>,
}

/// An iterator of the parts of a slice; of `None`s without end if there is none, or nothing in it.
fn parts<'a, E: 'a>(slice: Option<&'a mut [E]>, length: usize) -> impl Iterator<Item = Option<&'a mut [E]>> {
    let slice = slice.filter(|slice| !slice.is_empty());
    let missing = slice.is_none();
    let some = slice.unwrap_or_default().chunks_mut(length.max(1)).map(Some);
    some.chain(core::iter::repeat_with(|| None).take(if missing { usize::MAX } else { 0 }))
}

impl<E: Float> Layer<'_, E> {
    /// How many rows go into one partial sum of the weight's gradient: few enough for many threads, enough for few partial sums.
    fn group_rows(&self) -> usize {
        let rows = (self.rows / 8).clamp(128, 1024).max(self.rows.div_ceil(32));
        rows.next_multiple_of(chunk_rows(self.rows))
    }

    fn pull(&self, slope: Option<&CpuTensor<E>>, g: &CpuTensor<E>, need: [bool; 3]) -> Result<[Option<CpuTensor<E>>; 3]> {
        let device = self.x.home();
        let g = g.contiguous()?;
        let (g, slope) = (rows_of(&g), slope.map(rows_of));
        let (rows, inner, out) = (self.rows, self.inner, self.out);
        let [need_x, need_w, need_b] = need;
        let need_b = need_b && self.bias.is_some();
        let size = if need_w || need_b { self.group_rows() } else { chunk_rows(rows) };
        let groups = rows.div_ceil(size).max(1);
        let buffer = |wanted: bool, elements: usize| wanted.then(|| device.buffer("linear", elements)).transpose();
        let mut gx = buffer(need_x, rows * inner)?;
        let mut gw = buffer(need_w, groups * out * inner)?;
        let mut gb = buffer(need_b, groups * out)?;
        if rows == 0 || out == 0 {
            // No group would write them.
            [&mut gx, &mut gw, &mut gb].into_iter().flatten().for_each(|buffer| buffer.elements_mut().fill(E::ZERO));
        }
        // With few inputs the product with the weight is one of dot products, for which its columns must lie together.
        let columns = self.weight.permute(&[1, 0])?;
        let columns = if need_x && inner <= 8 { columns.contiguous()? } else { columns };
        let weight = left(&columns).transposed();
        let tasks = parts(gx.as_mut().map(Buffer::elements_mut), size * inner)
            .zip(parts(gw.as_mut().map(Buffer::elements_mut), out * inner))
            .zip(parts(gb.as_mut().map(Buffer::elements_mut), out))
            .take(if out == 0 { 0 } else { rows.div_ceil(size) })
            .enumerate()
            .map(|(index, ((gx, gw), gb))| Group { start: index * size, rows: size.min(rows - index * size), gx, gw, gb });
        let scratch = ("linear", if slope.is_some() { size.min(chunk_rows(rows)) * out } else { 0 });
        device.each_with_scratch(scratch, self.worthwhile(), tasks, |group, scratch| self.pull_group(group, weight, g, slope, scratch))?;
        let tensor = |buffer: Option<Buffer<E>>, shape: Shape| buffer.map(|buffer| CpuTensor::new(buffer, shape));
        let gw = gw.map(|gw| sum_parts(device, gw, groups, out * inner)).transpose()?;
        let gb = gb.map(|gb| sum_parts(device, gb, groups, out)).transpose()?;
        Ok([tensor(gx, Shape::new(&[rows, inner])?), tensor(gw, self.weight.shape()), tensor(gb, Shape::new(&[out])?)])
    }

    fn pull_group(&self, group: Group<'_, E>, weight: Matrix<'_, E>, g: &[E], slope: Option<&[E]>, scratch: &mut [E]) -> Result<()> {
        let Group { start, rows, mut gx, mut gw, mut gb } = group;
        let (inner, out, size) = (self.inner, self.out, chunk_rows(self.rows));
        if let Some(gb) = &mut gb {
            gb.fill(E::ZERO);
        }
        for first in (0..rows).step_by(size) {
            let count = size.min(rows - first);
            let span = (start + first) * out..(start + first + count) * out;
            let own = &g[span.clone()];
            // The cotangent of the pre-activation.
            let gz = match slope {
                Some(slope) => {
                    let gz = &mut scratch[..count * out];
                    multiply(gz, own, &slope[span], gb.as_deref_mut(), out);
                    &*gz
                }
                None => {
                    if let Some(gb) = &mut gb {
                        crate::reduce::add_rows(gb, own);
                    }
                    own
                }
            };
            let x = &rows_of(&self.x)[(start + first) * inner..][..count * inner];
            if let Some(gw) = gw.as_deref_mut().filter(|_| inner <= FEW) {
                if first == 0 {
                    gw.fill(E::ZERO);
                }
                outer_sum(gw, gz, x, inner);
            }
            let gz = Matrix::row_major(gz, count, out);
            if let Some(gx) = &mut gx {
                product(&mut gx[first * inner..][..count * inner], gz, weight, false);
            }
            if let Some(gw) = gw.as_deref_mut().filter(|_| inner > FEW) {
                product(gw, gz.transposed(), Matrix::row_major(x, count, inner), first > 0);
            }
        }
        Ok(())
    }
}

/// act(x Wᵀ + b) with its tangent.
pub(super) fn jvp<E: Float>(activation: Activation, inputs: &[&CpuTensor<E>], tangents: &[Option<&CpuTensor<E>>]) -> Result<Pushed<E>> {
    let fits = inputs.len() == tangents.len() && inputs.iter().zip(tangents).all(|(x, t)| t.is_none_or(|t| t.shape() == x.shape()));
    if !fits || tangents.iter().all(Option::is_none) {
        return Ok(None);
    }
    let Some(layer) = Layer::new(activation, inputs)? else { return Ok(None) };
    let (rows, inner, out) = (layer.rows, layer.inner, layer.out);
    let tangent = |i: usize| tangents.get(i).copied().flatten();
    let tx = tangent(0).map(whole).transpose()?;
    let tw = tangent(1).cloned();
    let tb = tangent(2).map(whole).transpose()?;

    let device = layer.x.home();
    let right = Right::new(device, &layer.weight, rows)?;
    let right = right.matrix(&layer.weight);
    let moving = tw.as_ref().map(|tw| Right::new(device, tw, rows)).transpose()?;
    let moving = moving.as_ref().zip(tw.as_ref()).map(|(right, tw)| right.matrix(tw));
    let x = Matrix::row_major(rows_of(&layer.x), rows, inner);
    let tx = tx.as_ref().map(|tx| Matrix::row_major(rows_of(tx), rows, inner));
    let chunk_rows = chunk_rows(rows);
    let size = (chunk_rows * out).max(1);
    let mut y = device.buffer("linear", rows * out)?;
    let mut ty = device.buffer("linear", rows * out)?;
    let tasks = y.elements_mut().chunks_mut(size).zip(ty.elements_mut().chunks_mut(size)).enumerate();
    device.each_with_scratch(("linear", 2 * size.min(rows * out)), layer.worthwhile(), tasks, |(chunk, (y, ty)), scratch| {
        let (start, count) = (chunk * chunk_rows, y.len() / out);
        let (z, tz) = scratch[..2 * y.len()].split_at_mut(y.len());
        product(z, x.band(start, count), right, false);
        match (tx, moving) {
            (Some(tx), Some(moving)) => {
                product(tz, tx.band(start, count), right, false);
                product(tz, x.band(start, count), moving, true);
            }
            (Some(tx), None) => product(tz, tx.band(start, count), right, false),
            (None, Some(moving)) => product(tz, x.band(start, count), moving, false),
            (None, None) => tz.fill(E::ZERO),
        }
        finish(Activation::Identity, tz, tb.as_deref().map(rows_of));
        keep(activation, z, y, layer.bias());
        multiply(ty, tz, z, None, out);
        Ok(())
    })?;
    Ok(Some((CpuTensor::new(y, layer.shape), CpuTensor::new(ty, layer.shape))))
}
