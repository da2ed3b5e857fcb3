//! Device memory that a tensor holds.

use crate::device::CudaDevice;
use crate::memory::Block;
use core::fmt;
use std::sync::Arc;

/// Device memory: a block, which returns to its device's pool when the buffer is dropped, or memory that a host lends, which is only read.
pub(crate) struct Buffer {
    device: CudaDevice,
    address: u64,
    owner: Owner,
}

enum Owner {
    Pooled(Block),
    /// A constant's, which the device and other buffers may hold too.
    Shared(Arc<Block>),
    /// Kept for its `Drop`.
    Lent {
        _lender: Box<dyn Send + Sync>,
    },
    Returned,
}

impl Buffer {
    pub fn new(device: CudaDevice, block: Block) -> Self {
        Self { device, address: block.address, owner: Owner::Pooled(block) }
    }

    pub fn shared(device: CudaDevice, block: Arc<Block>) -> Self {
        Self { device, address: block.address, owner: Owner::Shared(block) }
    }

    pub fn lent(device: CudaDevice, address: u64, owner: Box<dyn Send + Sync>) -> Self {
        Self { device, address, owner: Owner::Lent { _lender: owner } }
    }

    pub fn device(&self) -> &CudaDevice {
        &self.device
    }

    /// Whether other buffers may have the same place.
    pub fn is_shared(&self) -> bool {
        matches!(self.owner, Owner::Shared(_))
    }

    /// The block, if it may be shared.
    pub fn block(&self) -> Option<Arc<Block>> {
        if let Owner::Shared(block) = &self.owner { Some(Arc::clone(block)) } else { None }
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
        match core::mem::replace(&mut self.owner, Owner::Returned) {
            Owner::Pooled(block) => self.device.give(block),
            // The last to hold it gives it back.
            Owner::Shared(block) => {
                if let Some(block) = Arc::into_inner(block) {
                    self.device.give(block);
                }
            }
            // The device has been given all work on it before the owner may free it. Where that fails, later calls say so.
            Owner::Lent { .. } => drop(self.device.directly("wrap", |_| Ok(()))),
            Owner::Returned => {}
        }
    }
}
