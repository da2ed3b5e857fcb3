//! Device memory that a tensor holds.

use crate::device::CudaDevice;
use crate::memory::Block;
use core::fmt;
use std::sync::Arc;

/// Device memory: a block, which returns to its device's pool when the buffer is dropped, or memory of somebody else's, which is only read.
pub(crate) struct Buffer {
    device: CudaDevice,
    address: u64,
    storage: Storage,
}

enum Storage {
    Pooled(Block),
    /// A constant's, which the device and other buffers may hold too.
    Shared(Arc<Block>),
    /// Kept for its `Drop`.
    Lent {
        _owner: Box<dyn Send + Sync>,
    },
    Returned,
}

impl Buffer {
    pub fn new(device: CudaDevice, block: Block) -> Self {
        Self { device, address: block.address, storage: Storage::Pooled(block) }
    }

    pub fn shared(device: CudaDevice, block: Arc<Block>) -> Self {
        Self { device, address: block.address, storage: Storage::Shared(block) }
    }

    pub fn lent(device: CudaDevice, address: u64, owner: Box<dyn Send + Sync>) -> Self {
        Self { device, address, storage: Storage::Lent { _owner: owner } }
    }

    pub fn device(&self) -> &CudaDevice {
        &self.device
    }

    /// Whether other buffers may have the same place.
    pub fn is_shared(&self) -> bool {
        matches!(self.storage, Storage::Shared(_))
    }

    /// The block, if it may be shared.
    pub fn block(&self) -> Option<Arc<Block>> {
        if let Storage::Shared(block) = &self.storage { Some(Arc::clone(block)) } else { None }
    }

    pub fn address(&self) -> u64 {
        self.address
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match core::mem::replace(&mut self.storage, Storage::Returned) {
            Storage::Pooled(block) => self.device.give(block),
            // The last to hold it gives it back.
            Storage::Shared(block) => {
                if let Some(block) = Arc::into_inner(block) {
                    self.device.give(block);
                }
            }
            // The device has been given all work on it before the owner may free it. Where that fails, later calls say so.
            Storage::Lent { .. } => drop(self.device.directly("wrap", |_| Ok(()))),
            Storage::Returned => {}
        }
    }
}
