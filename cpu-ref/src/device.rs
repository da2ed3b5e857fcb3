//! The device: threads and memory.

use crate::buffer::{Buffer, SMALL};
use crate::float::Float;
use crate::memory::{Block, Memory, Pool};
use crate::tensor::CpuTensor;
use crate::workers::{Movable, Shareable, Workers};
use core::fmt;
use mfm_core::tensor::Element;
use mfm_core::{Device, Error, Noise, Result, Shape};

#[cfg(not(feature = "std"))]
pub(crate) use alloc::rc::Rc as Shared;
#[cfg(feature = "std")]
pub(crate) use alloc::sync::Arc as Shared;

/// Memory that a host lends, which lives as long as any tensor of it.
pub(crate) type Lent<E> = alloc::boxed::Box<dyn AsRef<[E]> + Send + Sync>;

/// Elements below which threads are not worth their while.
pub(crate) const WORTHWHILE: usize = 1 << 15;
/// Noise is drawn in runs of this many.
const DRAW: usize = 1 << 12;

/// The processor: its threads, and a pool of buffers. Cheap to clone; every clone is the same device.
///
/// Tensors of several such devices may be mixed; the result lives where the first operand does.
pub struct CpuDevice<E: Float>(Shared<Inner<E>>);

struct Inner<E> {
    workers: Workers,
    #[cfg(feature = "std")]
    pool: std::sync::Mutex<Pool<E>>,
    #[cfg(not(feature = "std"))]
    pool: core::cell::RefCell<Pool<E>>,
}

impl<E: Float> Clone for CpuDevice<E> {
    fn clone(&self) -> Self {
        Self(Shared::clone(&self.0))
    }
}

impl<E: Float> fmt::Debug for CpuDevice<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuDevice").field("threads", &self.threads()).field("memory", &self.memory()).finish()
    }
}

impl<E: Float> Default for CpuDevice<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Float> CpuDevice<E> {
    /// As many threads as the machine runs at once (one without the feature `std`).
    pub fn new() -> Self {
        #[cfg(feature = "std")]
        {
            let threads = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
            Self::with_workers(Workers::with_threads(threads).unwrap_or_else(|_| Workers::inline()))
        }
        #[cfg(not(feature = "std"))]
        Self::with_workers(Workers::inline())
    }

    /// `threads` threads, the caller's among them (0 is taken for 1). Results do not depend on how many there are.
    ///
    /// # Errors
    /// [`Error::Device`] if the system cannot start them.
    #[cfg(feature = "std")]
    pub fn with_threads(threads: usize) -> Result<Self> {
        Workers::with_threads(threads).map(Self::with_workers)
    }

    fn with_workers(workers: Workers) -> Self {
        let pool = Pool::new(cfg!(feature = "std"));
        Self(Shared::new(Inner { workers, pool: pool.into() }))
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.0.workers.threads()
    }

    /// How many bytes tensors and pool hold.
    pub fn memory(&self) -> Memory {
        self.pool(|pool| pool.memory())
    }

    /// Gives the pool's free memory back to the system.
    pub fn trim(&self) {
        self.pool(Pool::trim);
    }

    /// A tensor of memory that `owner` keeps: nothing is copied, and the owner is dropped with the last tensor of it.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one number for each element of `shape`.
    pub fn wrap(&self, owner: impl AsRef<[E]> + Send + Sync + 'static, shape: Shape) -> Result<CpuTensor<E>> {
        let buffer = Buffer::lent(self.clone(), alloc::boxed::Box::new(owner));
        let found = buffer.elements().len();
        if found != shape.elements() {
            return Err(Error::Length { op: "wrap", expected: shape.elements(), found });
        }
        Ok(CpuTensor::new(buffer, shape))
    }

    fn pool<R>(&self, f: impl FnOnce(&mut Pool<E>) -> R) -> R {
        #[cfg(feature = "std")]
        return f(&mut self.0.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        #[cfg(not(feature = "std"))]
        f(&mut self.0.pool.borrow_mut())
    }

    pub(crate) fn give(&self, block: Block<E>) {
        self.pool(|pool| pool.give(block));
    }

    /// A buffer whose content is arbitrary.
    pub(crate) fn buffer(&self, op: &'static str, elements: usize) -> Result<Buffer<E>> {
        if elements <= SMALL {
            return Ok(Buffer::small(self.clone(), elements));
        }
        let block = self.pool(|pool| pool.take(op, elements))?;
        Ok(Buffer::new(self.clone(), block, elements))
    }

    /// `work` on every task, by all threads if it is worth their while.
    pub(crate) fn each<I>(&self, worthwhile: bool, tasks: I, work: impl Fn(I::Item) -> Result<()> + Shareable) -> Result<()>
    where
        I: Iterator + Movable,
    {
        self.0.workers.each(worthwhile, tasks, work)
    }

    /// As [`each`](Self::each), and every thread has `elements` numbers for itself, whose content is arbitrary. They are there before
    /// the threads start, so that the memory asked for does not depend on how many tasks happen to be under way at once.
    pub(crate) fn each_with_scratch<I>(
        &self,
        (op, elements): (&'static str, usize),
        worthwhile: bool,
        tasks: I,
        work: impl Fn(I::Item, &mut [E]) -> Result<()> + Shareable,
    ) -> Result<()>
    where
        I: Iterator + Movable,
    {
        // No two threads write to one line of the cache.
        let stride = elements.next_multiple_of(64 / size_of::<E>()).max(1);
        let mut scratch = self.buffer(op, stride.saturating_mul(self.0.workers.at_work(worthwhile, &tasks)))?;
        let own = scratch.elements_mut().chunks_mut(stride);
        self.0.workers.each_with(worthwhile, tasks, own, |task, own| work(task, own.get_mut(..elements).unwrap_or_default()))
    }
}

impl<E: Float> Device for CpuDevice<E> {
    type Tensor = CpuTensor<E>;

    fn from_slice<F: Element>(&self, values: &[F], shape: Shape) -> Result<CpuTensor<E>> {
        if values.len() != shape.elements() {
            return Err(Error::Length { op: "from_slice", expected: shape.elements(), found: values.len() });
        }
        let mut buffer = self.buffer("from_slice", values.len())?;
        for (slot, value) in buffer.elements_mut().iter_mut().zip(values) {
            *slot = E::from_f64(value.to_f64());
        }
        Ok(CpuTensor::new(buffer, shape))
    }

    /// One element, stretched: a constant takes no memory to speak of.
    fn full(&self, value: f64, shape: Shape) -> Result<CpuTensor<E>> {
        let mut buffer = self.buffer("full", 1)?;
        buffer.elements_mut().fill(E::from_f64(value));
        CpuTensor::new(buffer, Shape::SCALAR).stretched(shape)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn normal(&self, noise: &Noise, shape: Shape) -> Result<CpuTensor<E>> {
        E::normal(self, noise, shape)
    }
}

/// As [`Device::normal`], word for word.
pub(crate) fn normal<E: Float>(device: &CpuDevice<E>, noise: &Noise, shape: Shape) -> Result<CpuTensor<E>> {
    let elements = shape.elements();
    let mut buffer = device.buffer("normal", elements)?;
    let runs = buffer.elements_mut().chunks_mut(DRAW).enumerate();
    // A normal number takes some twenty times as long as a product.
    device.each(elements > DRAW, runs, |(index, run)| {
        let mut values = [0.0; 256];
        for (part, slots) in run.chunks_mut(values.len()).enumerate() {
            let values = &mut values[..slots.len()];
            noise.skip((index * DRAW + part * 256) as u64).fill_normal(values);
            for (slot, value) in slots.iter_mut().zip(values) {
                *slot = E::from_f64(*value);
            }
        }
        Ok(())
    })?;
    Ok(CpuTensor::new(buffer, shape))
}
