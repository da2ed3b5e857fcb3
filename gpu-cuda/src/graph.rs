//! CUDA graphs: a function of tensors, recorded once for each combination of shapes and replayed as one launch.

use crate::copy;
use crate::device::CudaDevice;
use crate::failure::check_raw;
use crate::memory::{Block, Pool};
use crate::queue::Graph;
use crate::staging::Chunk;
use crate::stream::Stream;
use crate::tensor::CudaTensor;
use core::fmt;
use cust::sys;
use mfm_core::{Device, Error, Result, Shape, Tensor};
use std::collections::{BTreeMap, HashMap};

/// The memory of a graph while it is recorded: blocks that are given back serve the same graph again, and nothing else.
#[derive(Default)]
pub(crate) struct Capture {
    free: BTreeMap<usize, Vec<Block>>,
    chunks: Vec<Chunk>,
}

impl Capture {
    pub fn take(&mut self, op: &'static str, bytes: usize, pool: &mut Pool, side: &Stream) -> Result<Block> {
        // A little larger will do.
        let fits = self.free.range_mut(bytes..bytes.saturating_mul(2).max(1 << 10)).find_map(|(_, blocks)| blocks.pop());
        match fits {
            Some(block) => Ok(block),
            None => {
                // What is asked of the recorded stream would become part of the graph.
                let block = pool.take(op, bytes, side)?;
                side.synchronize(op)?;
                Ok(block)
            }
        }
    }

    pub fn give(&mut self, block: Block) {
        self.free.entry(block.bytes).or_default().push(block);
    }

    pub fn keep(&mut self, chunk: Chunk) {
        self.chunks.push(chunk);
    }
}

/// A recorded function for one combination of shapes.
struct Recording {
    device: CudaDevice,
    executable: sys::CUgraphExec,
    inputs: Vec<CudaTensor>,
    outputs: Vec<CudaTensor>,
    blocks: Vec<Block>,
    /// Host memory that the graph reads.
    chunks: Vec<Chunk>,
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.executable.is_null() {
            // What a lost device answers is of no use.
            // SAFETY: instantiated by `record`, destroyed once.
            let _ = self.device.run("replay", || check_raw("replay", unsafe { sys::cuGraphExecDestroy(self.executable) }));
        }
        self.device.give_all(core::mem::take(&mut self.blocks));
        let chunks = core::mem::take(&mut self.chunks);
        if !chunks.is_empty() {
            // The last launch may still read them, and the driver may wait for the device where it lets go of pinned memory.
            let _ = self.device.run("replay", || self.device.stream().synchronize("replay"));
            let _ = self.device.alone("replay", || {
                drop(chunks);
                Ok(())
            });
        }
    }
}

/// A function of tensors that is recorded as a CUDA graph when it is first called with inputs of some shapes, and replayed after that: one launch
/// instead of hundreds. The results are those of the function.
///
/// The function must do the same work whenever it is called with the same shapes: what it decides or draws on the host is frozen at the
/// recording. It cannot look at numbers on the host. What should change from call to call is an input.
///
/// While it is recorded, the device is the recording thread's alone: what another thread asked of it would become part of the graph, and not be done. And nothing
/// else in the process may wait for the whole GPU, or the call fails with error 901: as for
/// [`Options::graphs`](crate::Options::graphs), but that here another device of this crate counts too, where it uses a kernel or a kind of product for
/// the first time.
pub struct Replay<F> {
    device: CudaDevice,
    function: F,
    recordings: HashMap<Vec<Shape>, Recording>,
}

impl<F> fmt::Debug for Replay<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("device", &self.device).field("recordings", &self.recordings.len()).finish_non_exhaustive()
    }
}

impl<F: Fn(&[CudaTensor]) -> Result<Vec<CudaTensor>>> Replay<F> {
    /// Nothing is recorded yet.
    pub fn new(device: &CudaDevice, function: F) -> Self {
        Self { device: device.clone(), function, recordings: HashMap::new() }
    }

    /// How many combinations of shapes have been recorded.
    pub fn recordings(&self) -> usize {
        self.recordings.len()
    }

    /// The function of `inputs`.
    ///
    /// # Errors
    /// The function's own, [`Error::DeviceMismatch`], and whatever the device reports.
    pub fn call(&mut self, inputs: &[&CudaTensor]) -> Result<Vec<CudaTensor>> {
        if inputs.iter().any(|input| !input.home().same(&self.device)) {
            return Err(Error::DeviceMismatch { op: "replay" });
        }
        let key: Vec<Shape> = inputs.iter().map(|input| input.shape()).collect();
        if !self.recordings.contains_key(&key) {
            let recording = self.record(inputs)?;
            self.recordings.insert(key.clone(), recording);
        }
        let Some(recording) = self.recordings.get(&key) else { return Ok(Vec::new()) };
        for (fixed, input) in recording.inputs.iter().zip(inputs) {
            copy::into("replay", input, fixed)?;
        }
        self.device.directly("replay", |_| {
            // SAFETY: the graph was instantiated in this context, and everything that it touches is held by the recording.
            check_raw("replay", unsafe { sys::cuGraphLaunch(recording.executable, self.device.stream().as_inner()) })
        })?;
        // The next replay writes over the outputs.
        recording.outputs.iter().map(|output| copy::fresh("replay", output)).collect()
    }

    fn record(&self, inputs: &[&CudaTensor]) -> Result<Recording> {
        let device = &self.device;
        let fixed = inputs.iter().map(|input| copy::fresh("replay", input)).collect::<Result<Vec<_>>>()?;
        // Once without recording: kernels are loaded, products planned, and the pool is filled.
        drop((self.function)(&fixed)?);
        device.sync()?;
        {
            let capture = &mut device.state().capture;
            if capture.is_some() {
                return Err(Error::Unsupported { op: "replay", what: "a graph is being recorded on this device already" });
            }
            *capture = Some(Capture::default());
        }
        let stream = device.stream().as_inner();
        let capturing = Capturing { device, ended: false };
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream is the device's own.
        let begun = device.run("replay", || check_raw("replay", unsafe { sys::cuStreamBeginCapture_v2(stream, mode) }));
        let outputs = begun.and_then(|()| (self.function)(&fixed)?.iter().map(CudaTensor::contiguous).collect::<Result<Vec<_>>>());
        let (graph, capture) = capturing.end();
        let mut recording = Recording {
            device: device.clone(),
            executable: core::ptr::null_mut(),
            inputs: fixed,
            outputs: Vec::new(),
            blocks: capture.free.into_values().flatten().collect(),
            chunks: capture.chunks,
        };
        recording.outputs = outputs?;
        let graph = graph?;
        device.run("replay", || {
            // SAFETY: the graph was recorded just now.
            check_raw("replay", unsafe { sys::cuGraphInstantiateWithFlags(&raw mut recording.executable, graph.raw(), 0) })
        })?;
        Ok(recording)
    }
}

/// A recording that ends, also where the function fails or panics.
struct Capturing<'a> {
    device: &'a CudaDevice,
    ended: bool,
}

impl Capturing<'_> {
    fn end(mut self) -> (Result<Graph>, Capture) {
        self.stop()
    }

    fn stop(&mut self) -> (Result<Graph>, Capture) {
        self.ended = true;
        let graph = self.device.run("replay", || Graph::end("replay", self.device.stream()));
        (graph, self.device.state().capture.take().unwrap_or_default())
    }
}

impl Drop for Capturing<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let (_, capture) = self.stop();
            self.device.give_all(capture.free.into_values().flatten().collect());
        }
    }
}
