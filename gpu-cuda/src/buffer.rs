//! Device memory that a tensor holds.

use crate::device::CudaDevice;
use crate::memory::Block;

/// A block of a device's memory, which returns to the pool when it is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    device: CudaDevice,
    /// Taken when the buffer is dropped.
    block: Option<Block>,
    address: u64,
}

impl Buffer {
    pub fn new(device: CudaDevice, block: Block) -> Self {
        Self { device, address: block.address, block: Some(block) }
    }

    pub fn device(&self) -> &CudaDevice {
        &self.device
    }

    pub fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.device.give(block);
        }
    }
}
