//! Tensors that cross to and from other users of the GPU without copies, and the order of work on both sides.

use crate::buffer::Buffer;
use crate::device::CudaDevice;
use crate::options::Storage;
use crate::stream::Event;
use crate::tensor::CudaTensor;
use core::ffi::c_void;
use cust::sys;
use mfm_core::{Error, Result, Shape};

/// A stream of the host's, in the same primary context: a `CUstream`, which is the runtime's `cudaStream_t`. A device's own stream waits for
/// no other by itself, the legacy default stream (a null handle) included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignStream(sys::CUstream);

// SAFETY: a handle, which the driver lets any thread use.
unsafe impl Send for ForeignStream {}
// SAFETY: as above.
unsafe impl Sync for ForeignStream {}

impl ForeignStream {
    /// The stream of a handle.
    ///
    /// # Safety
    /// The handle is a stream of the GPU on whose device it is used, for as long as it is.
    pub unsafe fn from_raw(handle: *mut c_void) -> Self {
        Self(handle.cast())
    }
}

impl CudaDevice {
    /// A tensor of f32 at `address` that `owner` keeps: nothing is copied, and the owner is dropped with the last tensor of it. Work that
    /// reads them may still be queued then: the owner is to see that it is done before they change, by [`precede`](Self::precede) or
    /// [`sync`](mfm_core::Device::sync).
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a device that stores other numbers than f32, and for an address that is no multiple of four.
    ///
    /// # Safety
    /// The memory is this GPU's, holds one f32 for each element of `shape`, in row-major order, and does not change as long as the owner lives.
    pub unsafe fn wrap(&self, address: u64, owner: impl Send + Sync + 'static, shape: Shape) -> Result<CudaTensor> {
        if self.storage() != Storage::F32 {
            return Err(Error::Unsupported { op: "wrap", what: "the device stores numbers in another precision than f32" });
        }
        if !address.is_multiple_of(size_of::<f32>() as u64) {
            return Err(Error::Unsupported { op: "wrap", what: "the memory is not aligned for f32" });
        }
        Ok(CudaTensor::new(Buffer::lent(self.clone(), address, Box::new(owner)), shape))
    }

    /// Work asked of the device from now on begins when all that is queued on `stream` now is done.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn follow(&self, stream: ForeignStream) -> Result<()> {
        self.order("follow", stream.0, self.stream().as_inner())
    }

    /// Work queued on `stream` from now on begins when all that was asked of the device so far is done.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn precede(&self, stream: ForeignStream) -> Result<()> {
        self.order("precede", self.stream().as_inner(), stream.0)
    }

    fn order(&self, op: &'static str, before: sys::CUstream, after: sys::CUstream) -> Result<()> {
        self.directly(op, |_| {
            let event = Event::new(op)?;
            event.record(op, before)?;
            event.precede(op, after)
        })
    }
}
