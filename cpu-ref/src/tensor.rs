//! The tensor: a view of a shared buffer.

use crate::buffer::Buffer;
use crate::device::{CpuDevice, Shared};
use crate::float::Float;
use alloc::vec::Vec;
use core::fmt;
use mfm_core::tensor::{
    Binary, Compare, Element, Fused, OptimiserState, OptimiserStep, OptimiserUpdate, Pullback, Reduce, Transpose, Unary,
};
use mfm_core::{Error, Layout, Result, Shape, Tensor, memory};

/// An array of f32 or f64 on the [`CpuDevice`]: a buffer that may be shared, an offset, a shape, and a stride for each axis.
#[derive(Clone)]
pub struct CpuTensor<E: Float> {
    buffer: Shared<Buffer<E>>,
    layout: Layout,
}

impl<E: Float> fmt::Debug for CpuTensor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<E> = self.elements().iter().copied().take(8).collect();
        f.debug_struct("CpuTensor").field("shape", &self.layout.shape).field("buffer", &shown).finish_non_exhaustive()
    }
}

impl<E: Float> CpuTensor<E> {
    /// A contiguous tensor of all of a buffer.
    #[inline]
    pub(crate) fn new(buffer: Buffer<E>, shape: Shape) -> Self {
        Self::with_layout(buffer, Layout::contiguous(shape))
    }

    #[inline]
    pub(crate) fn with_layout(buffer: Buffer<E>, layout: Layout) -> Self {
        Self { buffer: Shared::new(buffer), layout }
    }

    /// The same buffer, seen in another way.
    #[inline]
    pub(crate) fn view(&self, layout: Layout) -> Self {
        Self { buffer: Shared::clone(&self.buffer), layout }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The whole buffer, as the layout's strides have it.
    pub(crate) fn elements(&self) -> &[E] {
        self.buffer.elements()
    }

    /// The elements in row-major order, in place, if they lie so; else see [`contiguous`](Self::contiguous).
    #[inline]
    pub fn as_slice(&self) -> Option<&[E]> {
        let range = self.layout.offset..self.layout.offset + self.layout.shape.elements();
        if self.layout.is_contiguous() { self.elements().get(range) } else { None }
    }

    pub(crate) fn home(&self) -> &CpuDevice<E> {
        self.buffer.device()
    }

    /// As [`Tensor::broadcast`].
    pub(crate) fn stretched(&self, shape: Shape) -> Result<Self> {
        let mismatch = Error::Shape { op: "broadcast", left: self.layout.shape, right: shape };
        self.layout.broadcast(shape).map(|layout| self.view(layout)).ok_or(mismatch)
    }

    /// The same elements in row-major order, one after another: the tensor itself where they lie so, else a copy.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there is no room for a copy.
    pub fn contiguous(&self) -> Result<Self> {
        if self.layout.is_contiguous() { Ok(self.clone()) } else { E::contiguous(self) }
    }
}

impl<E: Float> Tensor for CpuTensor<E> {
    type Device = CpuDevice<E>;

    fn device(&self) -> CpuDevice<E> {
        self.home().clone()
    }

    fn shape(&self) -> Shape {
        self.layout.shape
    }

    fn to_vec<F: Element>(&self) -> Result<Vec<F>> {
        let whole = self.contiguous()?;
        let values = whole.as_slice().unwrap_or_default();
        let mut out = memory::room("to_vec", values.len())?;
        out.extend(values.iter().map(|x| F::from_f64(x.to_f64())));
        Ok(out)
    }

    fn detach(&self) -> Self {
        self.clone()
    }

    fn unary(&self, op: Unary) -> Result<Self> {
        E::unary(self, op)
    }

    fn binary(&self, op: Binary, other: &Self) -> Result<Self> {
        E::binary(self, op, other)
    }

    fn compare(&self, op: Compare, other: &Self) -> Result<Self> {
        E::compare(self, op, other)
    }

    fn select(&self, yes: &Self, no: &Self) -> Result<Self> {
        E::select(self, yes, no)
    }

    fn reduce(&self, op: Reduce, axis: usize) -> Result<Self> {
        E::reduce(self, op, axis)
    }

    fn broadcast(&self, shape: Shape) -> Result<Self> {
        self.stretched(shape)
    }

    fn reshape(&self, shape: Shape) -> Result<Self> {
        if shape == self.layout.shape {
            return Ok(self.clone());
        }
        if shape.elements() != self.layout.shape.elements() {
            return Err(Error::Shape { op: "reshape", left: self.layout.shape, right: shape });
        }
        match self.layout.reshape(shape) {
            Some(layout) => Ok(self.view(layout)),
            None => {
                let whole = E::contiguous(self)?;
                Ok(whole.view(Layout { offset: whole.layout.offset, ..Layout::contiguous(shape) }))
            }
        }
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        self.layout.permute(axes).map(|layout| self.view(layout))
    }

    fn slice(&self, axis: usize, start: usize, length: usize) -> Result<Self> {
        self.layout.slice(axis, start, length).map(|layout| self.view(layout))
    }

    fn concat(parts: &[&Self], axis: usize) -> Result<Self> {
        E::concat(parts, axis)
    }

    fn matmul(&self, other: &Self, transpose: Transpose) -> Result<Self> {
        E::matmul(self, other, transpose)
    }

    fn gather(&self, axis: usize, index: &[usize]) -> Result<Self> {
        E::gather(self, axis, index)
    }

    fn scatter_add(&self, axis: usize, index: &[usize], length: usize) -> Result<Self> {
        E::scatter_add(self, axis, index, length)
    }

    fn fused(op: &Fused, inputs: &[&Self]) -> Result<Option<Self>> {
        E::fused(op, inputs)
    }

    fn fused_vjp(op: &Fused, inputs: &[&Self], needed: &[bool]) -> Result<Option<(Self, Pullback<Self>)>> {
        E::fused_vjp(op, inputs, needed)
    }

    fn fused_jvp(op: &Fused, inputs: &[&Self], tangents: &[Option<&Self>]) -> Result<Option<(Self, Self)>> {
        E::fused_jvp(op, inputs, tangents)
    }

    fn optimise(step: &OptimiserStep, state: &OptimiserState<Self>, gradient: &Self) -> Result<OptimiserUpdate<Self>> {
        E::optimise(step, state, gradient)
    }
}
