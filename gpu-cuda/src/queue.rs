//! Work gathered into CUDA graphs ([`Options::graphs`](crate::Options::graphs)): what is asked of the device between two looks of the host is
//! recorded, and goes to the device as one launch. A loop that asks for the same work again has the graph of the last time adapted to the new
//! numbers and addresses.

use crate::failure::check_raw;
use crate::quick::Quick;
use crate::staging::{Chunk, Staging};
use crate::stream::Stream;
use core::hash::{Hash, Hasher};
use cust::sys;
use mfm_core::{Error, Result};
use std::collections::HashMap;

/// How many launches a graph has at most: the device works on one while the host records the next.
const LONGEST: usize = 1 << 11;
/// How many bytes of pinned host memory wait for a graph at most.
const WAITING: usize = 64 << 20;
/// How many graphs are kept to be used again.
const KEPT: usize = 64;

/// What is being recorded.
#[derive(Default)]
struct Open {
    launches: usize,
    /// Of the kinds of work, in order: graphs of one signature can be expected to differ in numbers alone.
    signature: Quick,
    /// What the graph copies to the device.
    chunks: Vec<Chunk>,
}

/// A graph that the driver can launch.
struct Executable {
    handle: sys::CUgraphExec,
    used: u64,
}

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Executable {}

impl Drop for Executable {
    fn drop(&mut self) {
        // What a lost device answers is of no use.
        // SAFETY: instantiated by `prepare`, destroyed once, after the stream was waited for.
        let _ = unsafe { sys::cuGraphExecDestroy(self.handle) };
    }
}

/// The work that has not gone to the device yet, and the graphs of earlier work. The order of work is that of the calls, as without graphs.
#[derive(Default)]
pub(crate) struct Queue {
    open: Option<Open>,
    executables: HashMap<u64, Executable>,
    launched: u64,
    /// Why recorded work was lost. Tensors wait for it, so every later call returns it.
    failed: Option<Error>,
}

impl Queue {
    /// Before work of some kind is asked of the stream: from now on it is recorded, if it was not.
    pub fn record(&mut self, op: &'static str, kind: &impl Hash, stream: &Stream, staging: &mut Staging) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| open.launches >= LONGEST) {
            self.flush(op, stream, staging)?;
        }
        self.reported()?;
        let open = match &mut self.open {
            Some(open) => open,
            closed => {
                let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
                // SAFETY: the stream is the device's own.
                check_raw(op, unsafe { sys::cuStreamBeginCapture_v2(stream.as_inner(), mode) })?;
                closed.insert(Open::default())
            }
        };
        open.launches += 1;
        kind.hash(&mut open.signature);
        Ok(())
    }

    /// Keeps host memory until the recorded work that reads it is done.
    pub fn keep(&mut self, op: &'static str, chunk: Chunk, stream: &Stream, staging: &mut Staging) -> Result<()> {
        let Some(open) = &mut self.open else { return staging.give(op, chunk, stream) };
        open.chunks.push(chunk);
        if open.chunks.iter().map(Chunk::capacity).sum::<usize>() < WAITING { Ok(()) } else { self.flush(op, stream, staging) }
    }

    /// Gives the device what was recorded.
    pub fn flush(&mut self, op: &'static str, stream: &Stream, staging: &mut Staging) -> Result<()> {
        if let Some(open) = self.open.take()
            && let Err(error) = self.launch(op, open, stream, staging)
        {
            self.failed.get_or_insert(error);
        }
        self.reported()
    }

    fn launch(&mut self, op: &'static str, open: Open, stream: &Stream, staging: &mut Staging) -> Result<()> {
        let graph = Graph::end(op, stream)?;
        let executable = self.prepare(op, open.signature.finish(), &graph, stream)?;
        // SAFETY: a graph of work on memory that is given back, if at all, to a pool whose next user is behind it on the stream.
        check_raw(op, unsafe { sys::cuGraphLaunch(executable, stream.as_inner()) })?;
        open.chunks.into_iter().try_for_each(|chunk| staging.give(op, chunk, stream))
    }

    /// Forgets what was recorded, which nobody waits for.
    pub fn discard(&mut self, stream: &Stream) {
        if self.open.take().is_some() {
            drop(Graph::end("drop", stream));
        }
        let _ = stream.synchronize("drop");
        self.executables.clear();
    }

    fn reported(&mut self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }

    /// The graph in a form that can be launched: an earlier one adapted to it, or a new one.
    fn prepare(&mut self, op: &'static str, signature: u64, graph: &Graph, stream: &Stream) -> Result<sys::CUgraphExec> {
        self.launched += 1;
        let used = self.launched;
        if let Some(known) = self.executables.get_mut(&signature) {
            let (mut node, mut outcome) = (core::ptr::null_mut(), core::mem::MaybeUninit::uninit());
            // SAFETY: both are alive; `outcome` is written as an integer, and not read. What is under way is not changed by it.
            if unsafe { sys::cuGraphExecUpdate(known.handle, graph.0, &raw mut node, outcome.as_mut_ptr()) } as i32 == 0 {
                known.used = used;
                return Ok(known.handle);
            }
        }
        let is_full = !self.executables.contains_key(&signature) && self.executables.len() >= KEPT;
        let oldest = self.executables.iter().min_by_key(|(_, executable)| executable.used).map(|(signature, _)| *signature);
        if let Some(superseded) = if is_full { oldest } else { Some(signature) }.and_then(|signature| self.executables.remove(&signature)) {
            // It may be under way.
            stream.synchronize(op)?;
            drop(superseded);
        }
        let mut handle = core::ptr::null_mut();
        // SAFETY: the graph is alive.
        check_raw(op, unsafe { sys::cuGraphInstantiateWithFlags(&raw mut handle, graph.0, 0) })?;
        self.executables.insert(signature, Executable { handle, used });
        Ok(handle)
    }
}

/// A recorded graph.
pub(crate) struct Graph(sys::CUgraph);

impl Graph {
    /// The driver's handle, as long as the graph is there.
    pub fn raw(&self) -> sys::CUgraph {
        self.0
    }

    /// Ends the recording.
    pub fn end(op: &'static str, stream: &Stream) -> Result<Self> {
        let mut graph = Self(core::ptr::null_mut());
        // SAFETY: the stream is the device's own, and is being recorded.
        check_raw(op, unsafe { sys::cuStreamEndCapture(stream.as_inner(), &raw mut graph.0) })?;
        Ok(graph)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: from `end`, destroyed once; executables do not need it.
            let _ = unsafe { sys::cuGraphDestroy(self.0) };
        }
    }
}
