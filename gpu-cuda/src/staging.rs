//! Pinned host memory, through which numbers go to the device and back without the driver's own copy.

use crate::device::locked;
use crate::failure::{check, check_raw};
use crate::stream::{Event, Stream};
use crate::work::Upload;
use cust::memory::{cuda_free_locked, cuda_malloc_locked};
use mfm_core::Result;
use std::sync::{Arc, Mutex};

/// The size of a chunk: larger transfers go in pieces.
pub(crate) const CHUNK: usize = 8 << 20;
/// The smallest chunk.
const SMALL: usize = 64 << 10;
/// The number of chunks beyond which none is made before the oldest was waited for.
const MOST: usize = 8;

/// Host memory that the device reads and writes by itself.
pub(crate) struct Chunk {
    pointer: *mut u8,
    bytes: usize,
    /// Recorded after the last copy.
    done: Event,
    /// Held where memory is pinned or let go of: the driver may wait for the whole GPU there, which breaks what is captured.
    capture_lock: Arc<Mutex<()>>,
}

// SAFETY: plain memory, owned by the chunk alone.
unsafe impl Send for Chunk {}

impl Chunk {
    /// A new one of at least `bytes`.
    pub fn new(op: &'static str, bytes: usize, capture_lock: Arc<Mutex<()>>) -> Result<Self> {
        let bytes = bytes.next_power_of_two().clamp(SMALL, CHUNK);
        let done = Event::new(op)?;
        let pinned = {
            let _alone = locked(&capture_lock);
            // SAFETY: given back once, when the chunk is dropped.
            unsafe { cuda_malloc_locked::<u8>(bytes) }
        };
        let pointer = check(op, pinned)?;
        // SAFETY: just allocated, of this size.
        unsafe { pointer.write_bytes(0, bytes) };
        Ok(Self { pointer, bytes, done, capture_lock })
    }

    /// How many bytes it has.
    pub fn capacity(&self) -> usize {
        self.bytes
    }

    /// The first `bytes` of it.
    pub fn bytes(&self, bytes: usize) -> &[u8] {
        // SAFETY: allocated and initialised in `new`; the device is done with it (the caller waited).
        unsafe { core::slice::from_raw_parts(self.pointer, bytes.min(self.bytes)) }
    }

    /// The first `bytes` of it.
    pub fn bytes_mut(&mut self, bytes: usize) -> &mut [u8] {
        // SAFETY: as `bytes`, and `self` is borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(self.pointer, bytes.min(self.bytes)) }
    }

    /// Waits until its last copy is done.
    pub fn wait(&self, op: &'static str) -> Result<()> {
        self.done.synchronize(op)
    }

    /// A copy of the first `bytes` to `to` on the device, where there is room for them. The chunk is to be kept until it is done.
    pub fn upload(&self, to: u64, bytes: usize) -> Upload {
        Upload { from: self.pointer.expose_provenance(), to, bytes: bytes.min(self.bytes) }
    }

    /// Queues a copy of `bytes` from the device, for which [`wait`](Self::wait) waits.
    pub fn download(&mut self, op: &'static str, from: u64, bytes: usize, stream: &Stream) -> Result<()> {
        // SAFETY: `from` has that many, and the chunk is kept until the copy is done.
        check_raw(op, unsafe { cust::sys::cuMemcpyDtoHAsync_v2(self.pointer.cast(), from, bytes.min(self.bytes), stream.as_inner()) })?;
        self.mark(op, stream)
    }

    fn mark(&self, op: &'static str, stream: &Stream) -> Result<()> {
        self.done.record(op, stream.as_inner())
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let _alone = locked(&self.capture_lock);
        // SAFETY: from `cuda_malloc_locked`; whoever drops it has waited for its last copy.
        let _ = unsafe { cuda_free_locked(self.pointer) };
    }
}

/// The chunks that are not being filled.
#[derive(Default)]
pub(crate) struct Staging {
    chunks: Vec<Chunk>,
}

impl Staging {
    /// A chunk whose last copy is done, of at least `bytes` (at most [`CHUNK`]); or a smaller one that must make room for one that is made; or `None`, where one
    /// may be made.
    pub fn take(&mut self, op: &'static str, bytes: usize) -> Result<Option<Chunk>> {
        let large = |chunk: &Chunk| chunk.bytes >= bytes;
        let mut ready = None;
        for (i, chunk) in self.chunks.iter().enumerate().filter(|(_, chunk)| large(chunk)) {
            if chunk.done.has_happened(op)? {
                ready = Some(i);
                break;
            }
        }
        if let Some(i) = ready {
            return Ok(Some(self.chunks.remove(i)));
        }
        if self.chunks.len() >= MOST {
            // The oldest makes room.
            let oldest = self.chunks.remove(0);
            oldest.done.synchronize(op)?;
            return Ok(Some(oldest));
        }
        Ok(None)
    }

    /// Takes a chunk back after its copy was queued.
    pub fn give(&mut self, op: &'static str, chunk: Chunk, stream: &Stream) -> Result<()> {
        chunk.mark(op, stream)?;
        self.put_back(chunk);
        Ok(())
    }

    /// Takes a chunk back whose copy is done.
    pub fn put_back(&mut self, chunk: Chunk) {
        self.chunks.push(chunk);
    }
}
