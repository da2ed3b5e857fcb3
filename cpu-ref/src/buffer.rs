//! Memory that returns to its device.

use crate::device::CpuDevice;
use crate::float::Float;
use crate::memory::Block;

/// Initialised numbers in a block of a device's pool.
pub(crate) struct Buffer<E: Float> {
    device: CpuDevice<E>,
    block: Option<Block<E>>,
    start: usize,
    length: usize,
}

impl<E: Float> Buffer<E> {
    pub fn new(device: CpuDevice<E>, block: Block<E>, length: usize) -> Self {
        Self { start: block.start(), device, block: Some(block), length }
    }

    pub fn device(&self) -> &CpuDevice<E> {
        &self.device
    }

    pub fn elements(&self) -> &[E] {
        self.block.as_ref().map_or(&[], |block| &block.elements()[self.start..self.start + self.length])
    }

    pub fn elements_mut(&mut self) -> &mut [E] {
        self.block.as_mut().map_or(&mut [], |block| &mut block.elements_mut()[self.start..self.start + self.length])
    }
}

impl<E: Float> Drop for Buffer<E> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.device.give(block);
        }
    }
}
