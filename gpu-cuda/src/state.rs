//! What of a device changes: under one lock, so that a call takes it once.

use crate::constants::Constants;
use crate::graph::Capture;
use crate::memory::{Block, Pool};
use crate::queue::Queue;
use crate::staging::{Chunk, Staging};
use crate::stream::Stream;
use core::hash::Hash;
use mfm_core::Result;

/// What of a device changes.
pub(crate) struct State {
    pub pool: Pool,
    pub staging: Staging,
    /// Where work is gathered into graphs, if it is.
    pub queue: Option<Queue>,
    /// What a replay records.
    pub capture: Option<Capture>,
    pub constants: Constants,
}

impl State {
    /// Before work of some kind is asked of the stream.
    pub fn record(&mut self, op: &'static str, kind: &impl Hash, stream: &Stream) -> Result<()> {
        match &mut self.queue {
            Some(queue) if self.capture.is_none() => queue.record(op, kind, stream, &mut self.staging),
            _ => Ok(()),
        }
    }

    /// Gives the device what was gathered.
    pub fn flush(&mut self, op: &'static str, stream: &Stream) -> Result<()> {
        self.queue.as_mut().map_or(Ok(()), |queue| queue.flush(op, stream, &mut self.staging))
    }

    /// Keeps host memory until the work that was asked to read it is done.
    pub fn keep(&mut self, op: &'static str, chunk: Chunk, stream: &Stream) -> Result<()> {
        match (&mut self.capture, &mut self.queue) {
            // The graph reads it at every replay.
            (Some(capture), _) => {
                capture.keep(chunk);
                Ok(())
            }
            (None, Some(queue)) => queue.keep(op, chunk, stream, &mut self.staging),
            (None, None) => self.staging.give(op, chunk, stream),
        }
    }

    /// Gives a block to the pool, which may give it to the driver: after the work that uses it. Where that is lost, later calls say so.
    pub fn give(&mut self, block: &Block, stream: &Stream) {
        if !self.pool.keeps(block) {
            let _ = self.flush("free", stream);
        }
        self.pool.give(block, stream);
    }
}
