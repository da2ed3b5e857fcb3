//! The tensor: a view of a shared buffer.

use crate::abi::View;
use crate::buffer::Buffer;
use crate::device::CudaDevice;
use crate::host::decode;
use crate::{copy, elementwise, fused, indexing, matmul, optimiser, reduce};
use core::fmt;
use mfm_core::tensor::{
    Binary, Compare, Element, Fused, OptimiserState, OptimiserStep, OptimiserUpdate, Pullback, Reduce, Transpose, Unary,
};
use mfm_core::{Device, Error, Layout, Result, Shape, Tensor, memory};
use std::sync::Arc;

/// An array on a [`CudaDevice`]: a buffer that may be shared, an offset, a shape, and a stride for each axis.
#[derive(Clone)]
pub struct CudaTensor {
    buffer: Arc<Buffer>,
    layout: Layout,
}

impl fmt::Debug for CudaTensor {
    /// The shape alone: the numbers would have to be waited for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaTensor").field("shape", &self.layout.shape).finish_non_exhaustive()
    }
}

impl CudaTensor {
    /// A contiguous tensor of the beginning of a buffer.
    pub(crate) fn new(buffer: Buffer, shape: Shape) -> Self {
        Self { buffer: Arc::new(buffer), layout: Layout::contiguous(shape) }
    }

    /// The same buffer, seen in another way.
    pub(crate) fn view(&self, layout: Layout) -> Self {
        Self { buffer: Arc::clone(&self.buffer), layout }
    }

    /// Whether both are views of one buffer.
    pub(crate) fn shares_buffer(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn home(&self) -> &CudaDevice {
        self.buffer.device()
    }

    /// The address of the first element on the device. What is there is written in the order of the device's work.
    pub fn address(&self) -> u64 {
        self.buffer.address() + (self.layout.offset * self.home().storage().bytes()) as u64
    }

    /// The tensor stretched to `shape`.
    pub(crate) fn stretched(&self, op: &'static str, shape: Shape) -> Result<Self> {
        self.stretched_layout(op, shape).map(|layout| self.view(layout))
    }

    /// The layout of the tensor stretched to `shape`.
    pub(crate) fn stretched_layout(&self, op: &'static str, shape: Shape) -> Result<Layout> {
        self.layout.broadcast(shape).ok_or(Error::Shape { op, left: self.layout.shape, right: shape })
    }

    /// The same elements in row-major order, one after another: the tensor itself where they lie so, else a copy. A constant, whose place others may
    /// share, is copied, so that what leaves the crate by its address is nobody else's constant.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there is no room for a copy, and whatever the device reports.
    pub fn contiguous(&self) -> Result<Self> {
        if self.layout.is_contiguous() && !self.buffer.is_shared() { Ok(self.clone()) } else { copy::fresh("copy", self) }
    }
}

/// A missing operand.
pub(crate) const ABSENT: View = View { data: 0, stride: [0; mfm_core::MAX_RANK] };

/// Whether all operands live on one device.
pub(crate) fn one_device(op: &'static str, operands: &[&CudaTensor]) -> Result<()> {
    match operands.split_first() {
        Some((first, rest)) if rest.iter().any(|other| !other.home().same(first.home())) => Err(Error::DeviceMismatch { op }),
        _ => Ok(()),
    }
}

impl Tensor for CudaTensor {
    type Device = CudaDevice;

    fn device(&self) -> CudaDevice {
        self.home().clone()
    }

    fn shape(&self) -> Shape {
        self.layout.shape
    }

    fn to_vec<E: Element>(&self) -> Result<Vec<E>> {
        let elements = self.layout.shape.elements();
        let storage = self.home().storage();
        let mut out = memory::room("to_vec", elements)?;
        if elements > 0 && self.layout.strides.iter().all(|&stride| stride == 0) {
            // One number, many times.
            self.home().download("to_vec", self.address(), storage.bytes(), &mut |bytes| decode(storage, bytes, &mut out))?;
            if let Some(&value) = out.first() {
                out.resize(elements, value);
            }
            return Ok(out);
        }
        let whole = self.contiguous()?;
        self.home().download("to_vec", whole.address(), elements * storage.bytes(), &mut |bytes| decode(storage, bytes, &mut out))?;
        Ok(out)
    }

    fn detach(&self) -> Self {
        self.clone()
    }

    fn to_precise(&self) -> Result<Self> {
        copy::converted("to_precise", self, &self.home().precise())
    }

    fn to_working(&self) -> Result<Self> {
        copy::converted("to_working", self, &self.home().working())
    }

    fn unary(&self, op: Unary) -> Result<Self> {
        elementwise::unary(self, op)
    }

    fn binary(&self, op: Binary, other: &Self) -> Result<Self> {
        elementwise::binary(self, op, other)
    }

    fn compare(&self, op: Compare, other: &Self) -> Result<Self> {
        elementwise::compare(self, op, other)
    }

    fn select(&self, yes: &Self, no: &Self) -> Result<Self> {
        elementwise::select(self, yes, no)
    }

    fn reduce(&self, op: Reduce, axis: usize) -> Result<Self> {
        reduce::reduce(self, op, axis)
    }

    fn broadcast(&self, shape: Shape) -> Result<Self> {
        self.stretched("broadcast", shape)
    }

    fn reshape(&self, shape: Shape) -> Result<Self> {
        if shape.elements() != self.layout.shape.elements() {
            return Err(Error::Shape { op: "reshape", left: self.layout.shape, right: shape });
        }
        match self.layout.reshape(shape) {
            Some(layout) => Ok(self.view(layout)),
            None => Ok(copy::fresh("reshape", self)?.view(Layout::contiguous(shape))),
        }
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        self.layout.permute(axes).map(|layout| self.view(layout))
    }

    fn slice(&self, axis: usize, start: usize, length: usize) -> Result<Self> {
        self.layout.slice(axis, start, length).map(|layout| self.view(layout))
    }

    fn concat(parts: &[&Self], axis: usize) -> Result<Self> {
        copy::concat(parts, axis)
    }

    fn matmul(&self, other: &Self, transpose: Transpose) -> Result<Self> {
        matmul::matmul(self, other, transpose)
    }

    fn gather(&self, axis: usize, index: &[usize]) -> Result<Self> {
        indexing::gather(self, axis, index)
    }

    fn scatter_add(&self, axis: usize, index: &[usize], length: usize) -> Result<Self> {
        indexing::scatter_add(self, axis, index, length)
    }

    fn optimise(step: &OptimiserStep, state: &OptimiserState<Self>, gradient: &Self) -> Result<OptimiserUpdate<Self>> {
        optimiser::optimise(step, state, gradient)
    }

    fn fused(op: &Fused, inputs: &[&Self]) -> Result<Option<Self>> {
        one_device(op.name(), inputs)?;
        fused::value(op, inputs)
    }

    fn fused_vjp(op: &Fused, inputs: &[&Self], needed: &[bool]) -> Result<Option<(Self, Pullback<Self>)>> {
        one_device(op.name(), inputs)?;
        fused::vjp(op, inputs, needed)
    }

    fn fused_jvp(op: &Fused, inputs: &[&Self], tangents: &[Option<&Self>]) -> Result<Option<(Self, Self)>> {
        one_device(op.name(), inputs)?;
        fused::jvp(op, inputs, tangents)
    }
}
