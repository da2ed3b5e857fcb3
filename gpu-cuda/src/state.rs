//! What of a device changes: under one lock, so that a call takes it once.

use crate::constants::Constants;
use crate::memory::{Block, Pool};
use crate::queue::{Queue, Way};
use crate::staging::{Chunk, Staging};
use crate::stream::Stream;
use crate::work::Work;
use mfm_core::Result;

/// What of a device changes.
pub(crate) struct State {
    pub pool: Pool,
    pub staging: Staging,
    /// Where work is gathered into graphs, if it is.
    pub queue: Option<Queue>,
    pub constants: Constants,
}

impl State {
    /// Asks the stream for work, now or, where work is gathered, later: in the order of the calls.
    pub fn ask(&mut self, op: &'static str, work: &impl Work, stream: &Stream) -> Result<()> {
        match self.way(stream) {
            (Some(queue), mut way) => queue.add(op, work, &mut way),
            (None, _) => work.start(op, stream),
        }
    }

    /// Gives the device what was gathered.
    pub fn flush(&mut self, op: &'static str, stream: &Stream) -> Result<()> {
        match self.way(stream) {
            (Some(queue), mut way) => queue.flush(op, &mut way),
            (None, _) => Ok(()),
        }
    }

    /// Keeps host memory until the work that was asked to read it is done.
    pub fn keep(&mut self, op: &'static str, chunk: Chunk, stream: &Stream) -> Result<()> {
        match self.way(stream) {
            (Some(queue), mut way) => queue.keep(op, chunk, &mut way),
            (None, Way { staging, .. }) => staging.give(op, chunk, stream),
        }
    }

    fn way<'a>(&'a mut self, stream: &'a Stream) -> (Option<&'a mut Queue>, Way<'a>) {
        (self.queue.as_mut(), Way { stream, staging: &mut self.staging, pool: &mut self.pool })
    }

    /// Gives a block to the pool, which may give it to the driver: after the work that uses it. Where that is lost, later calls say so.
    pub fn give(&mut self, block: &Block, stream: &Stream) {
        if !self.pool.keeps(block) {
            let _ = self.flush("free", stream);
        }
        self.pool.give(block, stream);
    }
}
