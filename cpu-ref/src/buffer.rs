//! Memory that returns to its device, or to whoever lent it.

use crate::device::{CpuDevice, Lent};
use crate::float::Float;
use crate::memory::Block;

/// Up to how many numbers are kept here, and ask no pool for memory: no more room than the other kinds take.
pub(crate) const SMALL: usize = 8;

/// Initialised numbers: a few in place, more in a block of a device's pool, or those in memory that a host lends, which is only read.
pub(crate) struct Buffer<E: Float> {
    device: CpuDevice<E>,
    storage: Storage<E>,
    start: usize,
    length: usize,
}

enum Storage<E> {
    Small([E; SMALL]),
    Pooled(Block<E>),
    Lent(Lent<E>),
    Returned,
}

impl<E: Float> Buffer<E> {
    pub fn new(device: CpuDevice<E>, block: Block<E>, length: usize) -> Self {
        Self { start: block.start(), device, storage: Storage::Pooled(block), length }
    }

    /// Up to [`SMALL`] numbers, all zero.
    pub fn small(device: CpuDevice<E>, length: usize) -> Self {
        Self { device, storage: Storage::Small([E::ZERO; SMALL]), start: 0, length }
    }

    pub fn lent(device: CpuDevice<E>, owner: Lent<E>) -> Self {
        let length = (*owner).as_ref().len();
        Self { device, storage: Storage::Lent(owner), start: 0, length }
    }

    pub fn device(&self) -> &CpuDevice<E> {
        &self.device
    }

    pub fn elements(&self) -> &[E] {
        match &self.storage {
            Storage::Small(numbers) => &numbers[..self.length],
            Storage::Pooled(block) => &block.elements()[self.start..self.start + self.length],
            Storage::Lent(owner) => (**owner).as_ref(),
            Storage::Returned => &[],
        }
    }

    pub fn elements_mut(&mut self) -> &mut [E] {
        match &mut self.storage {
            Storage::Small(numbers) => &mut numbers[..self.length],
            Storage::Pooled(block) => &mut block.elements_mut()[self.start..self.start + self.length],
            Storage::Lent(_) | Storage::Returned => &mut [],
        }
    }
}

impl<E: Float> Drop for Buffer<E> {
    fn drop(&mut self) {
        if matches!(self.storage, Storage::Pooled(_))
            && let Storage::Pooled(block) = core::mem::replace(&mut self.storage, Storage::Returned)
        {
            self.device.give(block);
        }
    }
}
