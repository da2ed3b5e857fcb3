//! What of a device changes: under one lock, so that a call takes it once.

use crate::constants::Constants;
use crate::memory::{Block, Pool};
use crate::queue::{Queue, Resources};
use crate::staging::{Chunk, Staging};
use crate::stream::Stream;
use crate::work::Piece;
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
    pub fn ask(&mut self, op: &'static str, work: &Piece<'_>, stream: &Stream) -> Result<()> {
        match self.resources(stream) {
            (Some(queue), mut resources) => queue.add(op, work, &mut resources),
            (None, _) => work.start(op, stream),
        }
    }

    /// Gives the device what was gathered.
    pub fn flush(&mut self, op: &'static str, stream: &Stream) -> Result<()> {
        match self.resources(stream) {
            (Some(queue), mut resources) => queue.flush(op, &mut resources),
            (None, _) => Ok(()),
        }
    }

    /// Keeps host memory until the work that was asked to read it is done.
    pub fn keep(&mut self, op: &'static str, chunk: Chunk, stream: &Stream) -> Result<()> {
        match self.resources(stream) {
            (Some(queue), mut resources) => queue.keep(op, chunk, &mut resources),
            (None, Resources { staging, .. }) => staging.give(op, chunk, stream),
        }
    }

    fn resources<'a>(&'a mut self, stream: &'a Stream) -> (Option<&'a mut Queue>, Resources<'a>) {
        (self.queue.as_mut(), Resources { stream, staging: &mut self.staging, pool: &mut self.pool })
    }

    /// Gives a block to the pool, which may give it to the driver: after the work that uses it. Where that is lost, later calls say so.
    pub fn give(&mut self, block: &Block, stream: &Stream) {
        if !self.pool.keeps(block) {
            let _ = self.flush("free", stream);
        }
        self.pool.give(block, stream);
    }
}
