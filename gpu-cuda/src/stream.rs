//! A stream, and events on it. `cust` has both, but takes the flag away that keeps a stream apart from the legacy default stream.

use crate::failure::{OUT_OF_MEMORY, check_raw};
use cust::sys;
use mfm_core::Result;

/// What the driver answers where work is still under way.
const NOT_READY: i32 = 600;

/// A stream that waits for no other by itself, the legacy default stream included: what anyone does there would break a capture.
pub(crate) struct Stream(sys::CUstream);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// A new one, in the current context.
    pub fn new(op: &'static str) -> Result<Self> {
        let (mut stream, apart) = (core::ptr::null_mut(), sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32);
        // SAFETY: `stream` is there to be written; it is destroyed once, when the value is dropped.
        check_raw(op, unsafe { sys::cuStreamCreateWithPriority(&raw mut stream, apart, 0) })?;
        Ok(Self(stream))
    }

    /// The driver's handle.
    pub fn as_inner(&self) -> sys::CUstream {
        self.0
    }

    /// Waits until all its work is done.
    pub fn synchronize(&self, op: &'static str) -> Result<()> {
        // SAFETY: the stream is alive.
        check_raw(op, unsafe { sys::cuStreamSynchronize(self.0) })
    }

    /// Memory of this many bytes for work that is queued from now on; `None` where there is no more. It is given back by [`release`](Self::release).
    pub fn allocate(&self, op: &'static str, bytes: usize) -> Result<Option<u64>> {
        let mut address = 0;
        // SAFETY: the stream is alive, and `address` there to be written.
        let outcome = unsafe { sys::cuMemAllocAsync(&raw mut address, bytes, self.0) };
        if outcome as i32 == OUT_OF_MEMORY { Ok(None) } else { check_raw(op, outcome).map(|()| Some(address)) }
    }

    /// Gives memory back when what is queued now is done. A lost device has nothing to take back: what it answers is of no use.
    ///
    /// # Safety
    /// The address is of [`allocate`](Self::allocate), and no work that is queued later reaches it.
    pub unsafe fn release(&self, address: u64) {
        // SAFETY: as the caller promises.
        let _ = unsafe { sys::cuMemFreeAsync(address, self.0) };
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once. The driver does what is queued first.
        let _ = unsafe { sys::cuStreamDestroy_v2(self.0) };
    }
}

/// A place in the work of a stream.
pub(crate) struct Event(sys::CUevent);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// One that has happened, in the current context.
    pub fn new(op: &'static str) -> Result<Self> {
        let (mut event, without_time) = (core::ptr::null_mut(), sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32);
        // SAFETY: `event` is there to be written; it is destroyed once, when the value is dropped.
        check_raw(op, unsafe { sys::cuEventCreate(&raw mut event, without_time) })?;
        Ok(Self(event))
    }

    /// From now on it happens when all that is queued on the stream now is done.
    pub fn record(&self, op: &'static str, stream: sys::CUstream) -> Result<()> {
        // SAFETY: the event is alive, and so is the stream, as the caller of the device sees to.
        check_raw(op, unsafe { sys::cuEventRecord(self.0, stream) })
    }

    /// Work queued on the stream from now on begins after it.
    pub fn precede(&self, op: &'static str, stream: sys::CUstream) -> Result<()> {
        // SAFETY: as above.
        check_raw(op, unsafe { sys::cuStreamWaitEvent(stream, self.0, 0) })
    }

    /// Whether it has happened.
    pub fn has_happened(&self, op: &'static str) -> Result<bool> {
        // SAFETY: the event is alive.
        let outcome = unsafe { sys::cuEventQuery(self.0) };
        if outcome as i32 == NOT_READY { Ok(false) } else { check_raw(op, outcome).map(|()| true) }
    }

    /// Waits until it has happened.
    pub fn synchronize(&self, op: &'static str) -> Result<()> {
        // SAFETY: as above.
        check_raw(op, unsafe { sys::cuEventSynchronize(self.0) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once; the driver keeps it until it has happened.
        let _ = unsafe { sys::cuEventDestroy_v2(self.0) };
    }
}
