//! Numbers on their way to the device and back, in pieces, through pinned memory.

use crate::device::CudaDevice;
use crate::staging::{CHUNK, Chunk};
use crate::stream::Event;
use crate::work::Piece;
use core::ops::Range;
use mfm_core::Result;

impl CudaDevice {
    /// Host memory for a transfer of this many bytes.
    fn chunk(&self, op: &'static str, bytes: usize) -> Result<Chunk> {
        match self.run(op, || self.state().staging.take(op, bytes))? {
            Some(chunk) if chunk.capacity() >= bytes => Ok(chunk),
            small => self.run(op, || {
                drop(small);
                Chunk::new(op, bytes, self.capture_lock())
            }),
        }
    }

    /// Queues a copy of `bytes` to the device; `fill` writes the bytes of a range.
    pub(crate) fn upload(&self, op: &'static str, to: u64, bytes: usize, fill: &mut dyn FnMut(Range<usize>, &mut [u8])) -> Result<()> {
        for start in (0..bytes).step_by(CHUNK) {
            let size = CHUNK.min(bytes - start);
            let mut chunk = self.chunk(op, size)?;
            fill(start..start + size, chunk.bytes_mut(size));
            self.run(op, || {
                let (mut state, stream) = (self.state(), self.stream());
                state.ask(op, &Piece::Upload(chunk.upload(to + start as u64, size)), stream)?;
                state.keep(op, chunk, stream)
            })?;
        }
        Ok(())
    }

    /// Copies `bytes` to the host, where `read` takes them piece by piece.
    pub(crate) fn download(&self, op: &'static str, from: u64, bytes: usize, read: &mut dyn FnMut(&[u8])) -> Result<()> {
        // Other threads may ask for work while this one waits.
        if bytes == 0 {
            // What went wrong before is reported here.
            let done = self.directly(op, |_| {
                let done = Event::new(op)?;
                done.record(op, self.stream().as_inner())?;
                Ok(done)
            })?;
            return self.run(op, || done.synchronize(op));
        }
        for start in (0..bytes).step_by(CHUNK) {
            let size = CHUNK.min(bytes - start);
            let mut chunk = self.chunk(op, size)?;
            self.directly(op, |_| chunk.download(op, from + start as u64, size, self.stream()))?;
            self.run(op, || chunk.wait(op))?;
            read(chunk.bytes(size));
            self.state().staging.put_back(chunk);
        }
        Ok(())
    }
}
