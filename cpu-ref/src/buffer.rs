//! Memory that returns to its device, or to whoever lent it.

use crate::device::{CpuDevice, Lent};
use crate::float::Float;
use crate::memory::Block;

/// Initialised numbers in a block of a device's pool, or in memory of somebody else's, which is only read.
pub(crate) struct Buffer<E: Float> {
    device: CpuDevice<E>,
    storage: Storage<E>,
    start: usize,
    length: usize,
}

enum Storage<E> {
    Pooled(Block<E>),
    Lent(Lent<E>),
    Returned,
}

impl<E: Float> Buffer<E> {
    pub fn new(device: CpuDevice<E>, block: Block<E>, length: usize) -> Self {
        Self { start: block.start(), device, storage: Storage::Pooled(block), length }
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
            Storage::Pooled(block) => &block.elements()[self.start..self.start + self.length],
            Storage::Lent(owner) => (**owner).as_ref(),
            Storage::Returned => &[],
        }
    }

    pub fn elements_mut(&mut self) -> &mut [E] {
        match &mut self.storage {
            Storage::Pooled(block) => &mut block.elements_mut()[self.start..self.start + self.length],
            Storage::Lent(_) | Storage::Returned => &mut [],
        }
    }
}

impl<E: Float> Drop for Buffer<E> {
    fn drop(&mut self) {
        if let Storage::Pooled(block) = core::mem::replace(&mut self.storage, Storage::Returned) {
            self.device.give(block);
        }
    }
}
