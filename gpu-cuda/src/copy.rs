//! Copies: views into row-major order, parts into a whole, and from one type of number to another.

use crate::abi::{ConvertArgs, CopyArgs};
use crate::device::CudaDevice;
use crate::kernels::{CONVERT, COPY, Grid, Suffix};
use crate::space::Axes;
use crate::tensor::{CudaTensor, one_device};
use mfm_core::{Error, Layout, MAX_RANK, Result, Shape, Tensor};

/// Writes the elements of `from` to the places of `to`, which has the same shape.
pub(crate) fn into(op: &'static str, from: &CudaTensor, to: &CudaTensor) -> Result<()> {
    let shape = from.shape();
    if shape.elements() == 0 {
        return Ok(());
    }
    let (axes, _) = Axes::new(shape, [from.layout(), to.layout()], None);
    let arguments = CopyArgs { space: axes.space(), from: axes.view(0, from.address()), to: axes.view(1, to.address()) };
    from.home().launch_over(op, COPY, shape.elements(), &arguments)
}

/// The same elements in a buffer of their own, in row-major order.
pub(crate) fn fresh(op: &'static str, x: &CudaTensor) -> Result<CudaTensor> {
    let out = CudaTensor::new(x.home().elements(op, x.shape().elements())?, x.shape());
    into(op, x, &out)?;
    Ok(out)
}

/// The same numbers as `device`, another handle of the same GPU, keeps them.
pub(crate) fn converted(op: &'static str, x: &CudaTensor, device: &CudaDevice) -> Result<CudaTensor> {
    if x.home().same(device) {
        return Ok(x.clone());
    }
    let x = x.contiguous()?;
    let elements = x.shape().elements();
    let out = CudaTensor::new(device.elements(op, elements)?, x.shape());
    if elements > 0 {
        let suffix = Suffix::FromTo(x.home().storage(), device.storage());
        let arguments = ConvertArgs { elements: elements as i64, from: x.address(), to: out.address() };
        device.launch(op, CONVERT, suffix, Grid::vectors(elements * device.storage().bytes()), &arguments)?;
    }
    Ok(out)
}

/// Whether no two elements of a layout share a place, apart from those of stretched axes.
fn is_apart(layout: &Layout) -> bool {
    let mut axes = [(0, 1); MAX_RANK];
    for ((slot, &length), &stride) in axes.iter_mut().zip(layout.shape.axes()).zip(&layout.strides) {
        *slot = (stride, length);
    }
    axes.sort_unstable();
    let mut reach = 0;
    axes.iter().filter(|(stride, length)| *stride > 0 && *length > 1).all(|(stride, length)| {
        let fits = *stride > reach;
        reach += stride * (length - 1);
        fits
    })
}

/// The tensor of which the parts are neighbouring views along `axis`, under its shape, if they are.
fn reunited(parts: &[&CudaTensor], axis: usize, whole: Shape) -> Option<CudaTensor> {
    let &[first, second, ..] = parts else { return None };
    let layout = first.layout();
    let (apart, length) = (second.layout().offset.checked_sub(layout.offset)?, layout.shape.axes()[axis]);
    let stride = apart.checked_div(length)?;
    let mut start = 0;
    let fits = parts.iter().all(|part| {
        let own = part.layout();
        let lies = |i: usize| own.shape.axes()[i] == 1 || own.strides[i] == if i == axis { stride } else { layout.strides[i] };
        let follows = own.offset == layout.offset + start * stride;
        start += own.shape.axes()[axis];
        follows && part.shares_buffer(first) && (0..whole.rank()).all(lies)
    });
    let mut strides = layout.strides;
    strides[axis] = stride;
    let whole = Layout { shape: whole, strides, offset: layout.offset };
    (fits && is_apart(&whole)).then(|| first.view(whole))
}

/// As [`mfm_core::Tensor::concat`]: one strided copy a part, and none where the parts lie side by side already: then the whole is a view of their buffer, and keeps
/// it.
pub(crate) fn concat(parts: &[&CudaTensor], axis: usize) -> Result<CudaTensor> {
    let first = *parts.first().ok_or(Error::Length { op: "concat", expected: 1, found: 0 })?;
    one_device("concat", parts)?;
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
    if let Some(whole) = reunited(parts, axis, whole) {
        return Ok(whole);
    }
    let out = CudaTensor::new(first.home().elements("concat", whole.elements())?, whole);
    let mut start = 0;
    for part in parts {
        let own = part.shape().axes()[axis];
        into("concat", part, &out.slice(axis, start, own)?)?;
        start += own;
    }
    Ok(out)
}
