//! Entries picked along an axis, and added back. The indices come from the host and are checked there.

use crate::abi::{GatherArgs, ScatterAddArgs};
use crate::buffer::Buffer;
use crate::device::CudaDevice;
use crate::kernels::{GATHER, Grid, SCATTER_ADD, Suffix};
use crate::space::Axes;
use crate::tensor::CudaTensor;
use mfm_core::{Error, Layout, Result, Tensor};

fn upload(device: &CudaDevice, op: &'static str, numbers: &[usize]) -> Result<Buffer> {
    let buffer = device.buffer(op, numbers.len().saturating_mul(8))?;
    device.upload(op, buffer.address(), numbers.len() * 8, &mut |range, out| {
        for (out, number) in out.chunks_exact_mut(8).zip(&numbers[range.start / 8..range.end / 8]) {
            out.copy_from_slice(&(*number as i64).to_ne_bytes());
        }
    })?;
    Ok(buffer)
}

/// As [`mfm_core::Tensor::gather`].
pub(crate) fn gather(x: &CudaTensor, axis: usize, index: &[usize]) -> Result<CudaTensor> {
    let shape = x.shape();
    let length = *shape.axes().get(axis).ok_or(Error::Axis { op: "gather", axis, shape })?;
    if let Some(&index) = index.iter().find(|&&i| i >= length) {
        return Err(Error::Index { op: "gather", index, length });
    }
    let result = shape.with_axis(axis, index.len())?;
    let (device, elements) = (x.home(), result.elements());
    let out = CudaTensor::new(device.elements("gather", elements)?, result);
    if elements > 0 {
        let index = upload(device, "gather", index)?;
        // Strides along the picked axis are the source's.
        let (axes, axis) = Axes::new(result, [&Layout { shape: result, ..*x.layout() }], Some(axis));
        let (x, to) = (axes.view(0, x.address()), out.address());
        let arguments = GatherArgs { space: axes.space(), x, index: index.address(), out: to, axis: axis as i32, reserved: 0 };
        device.launch("gather", GATHER, Suffix::Of(device.storage()), Grid::pointwise(elements, device.storage().lanes()), &arguments)?;
    }
    Ok(out)
}

/// As [`mfm_core::Tensor::scatter_add`]. The entries are sorted by where they go, so that each sum has one order.
pub(crate) fn scatter_add(x: &CudaTensor, axis: usize, index: &[usize], length: usize) -> Result<CudaTensor> {
    let shape = x.shape();
    let entries = *shape.axes().get(axis).ok_or(Error::Axis { op: "scatter_add", axis, shape })?;
    if index.len() != entries {
        return Err(Error::Length { op: "scatter_add", expected: entries, found: index.len() });
    }
    if let Some(&index) = index.iter().find(|&&i| i >= length) {
        return Err(Error::Index { op: "scatter_add", index, length });
    }
    let result = shape.with_axis(axis, length)?;
    let (device, elements) = (x.home(), result.elements());
    let out = CudaTensor::new(device.elements("scatter_add", elements)?, result);
    if elements > 0 {
        let mut start = vec![0; length + 1];
        index.iter().for_each(|&i| start[i + 1] += 1);
        (0..length).for_each(|i| start[i + 1] += start[i]);
        let mut next = start.clone();
        let mut order = vec![0; entries];
        for (entry, &i) in index.iter().enumerate() {
            order[next[i]] = entry;
            next[i] += 1;
        }
        let (start, order) = (upload(device, "scatter_add", &start)?, upload(device, "scatter_add", &order)?);
        let (axes, axis) = Axes::new(result, [&Layout { shape: result, ..*x.layout() }], Some(axis));
        let arguments = ScatterAddArgs {
            space: axes.space(),
            x: axes.view(0, x.address()),
            start: start.address(),
            order: order.address(),
            out: out.address(),
            axis: axis as i32,
            reserved: 0,
        };
        device.launch(
            "scatter_add",
            SCATTER_ADD,
            Suffix::Of(device.storage()),
            Grid::pointwise(elements, device.storage().lanes()),
            &arguments,
        )?;
    }
    Ok(out)
}
