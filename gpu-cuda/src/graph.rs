//! A list of work as a CUDA graph: the pieces one after another, launched together, and adapted to the numbers, sizes and addresses of another list with the same
//! products.

use crate::context;
use crate::device::locked;
use crate::failure::check_raw;
use crate::kernels::{Function, Grid};
use crate::products::Multiplication;
use crate::stream::Stream;
use crate::work::{List, Piece, Upload};
use core::ffi::c_void;
use core::ptr::null_mut;
use cust::sys;
use mfm_core::{Error, Result};
use std::sync::{Arc, Mutex};

/// How often the capture of a product is tried, which anybody breaks who waits for the whole GPU.
const ATTEMPTS: usize = 8;
/// What the driver answers where a capture is broken, or would be: codes from here to there.
const BROKEN: core::ops::RangeInclusive<i32> = 900..=908;

/// Where products are captured: what cuBLASLt does for one is not known but to the driver. No other work is ever asked of the stream.
pub(crate) struct CaptureStream {
    stream: Stream,
    /// Held during a capture, as it is while this crate does what may wait for the whole GPU.
    capture_lock: Arc<Mutex<()>>,
}

impl CaptureStream {
    /// In the current context.
    pub fn new(op: &'static str, capture_lock: Arc<Mutex<()>>) -> Result<Self> {
        Ok(Self { stream: Stream::new(op)?, capture_lock })
    }

    /// What the library does for a product.
    fn capture(&self, op: &'static str, product: &Multiplication) -> Result<Template> {
        let mut outcome = self.attempt(op, product);
        for _ in 1..ATTEMPTS {
            match outcome {
                Err(Error::Device { code, .. }) if BROKEN.contains(&code) => outcome = self.attempt(op, product),
                _ => break,
            }
        }
        outcome
    }

    fn attempt(&self, op: &'static str, product: &Multiplication) -> Result<Template> {
        let _alone = locked(&self.capture_lock);
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream is alive, and this one's own.
        check_raw(op, unsafe { sys::cuStreamBeginCapture_v2(self.stream.as_inner(), mode) })?;
        let multiplied = product.multiply(op, &self.stream);
        let mut graph = Template(null_mut());
        // SAFETY: the stream is being captured.
        let ended = check_raw(op, unsafe { sys::cuStreamEndCapture(self.stream.as_inner(), &raw mut graph.0) });
        // Report the broken capture, whatever the library makes of it.
        ended.and(multiplied).map(|()| graph)
    }
}

/// A graph, not to be launched itself.
struct Template(sys::CUgraph);

impl Template {
    fn new(op: &'static str) -> Result<Self> {
        let mut graph = Self(null_mut());
        // SAFETY: writes a new handle.
        check_raw(op, unsafe { sys::cuGraphCreate(&raw mut graph.0, 0) })?;
        Ok(graph)
    }

    /// Adds a piece of work after the last.
    fn add(
        &self,
        op: &'static str,
        last: Option<&sys::CUgraphNode>,
        piece: &Piece<'_>,
        captures: &CaptureStream,
    ) -> Result<sys::CUgraphNode> {
        let mut node = null_mut();
        let (before, count) = last.map_or((core::ptr::null(), 0), |last| (core::ptr::from_ref(last), 1));
        let outcome = match piece {
            Piece::Kernel { function, grid, arguments } => with_kernel(*function, *grid, arguments, |parameters| {
                // SAFETY: the graph is there, the node before is of it, and the parameters are copied.
                unsafe { sys::cuGraphAddKernelNode(&raw mut node, self.0, before, count, parameters) }
            }),
            Piece::Upload(upload) => {
                let (parameters, context) = (box_of(upload), context::current(op)?);
                // SAFETY: as above.
                unsafe { sys::cuGraphAddMemcpyNode(&raw mut node, self.0, before, count, &raw const parameters, context) }
            }
            Piece::Product(product) => {
                let child = captures.capture(op, product)?;
                // SAFETY: as above; the child is copied.
                unsafe { sys::cuGraphAddChildGraphNode(&raw mut node, self.0, before, count, child.0) }
            }
        };
        check_raw(op, outcome).map(|()| node)
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: created or captured once, destroyed once.
            let _ = unsafe { sys::cuGraphDestroy(self.0) };
        }
    }
}

/// `work` with a kernel in the driver's terms.
fn with_kernel<R>(function: Function, grid: Grid, arguments: &[u64], work: impl FnOnce(*const sys::CUDA_KERNEL_NODE_PARAMS) -> R) -> R {
    let mut parameters = [arguments.as_ptr().cast::<c_void>().cast_mut()];
    let [x, y, z] = grid.blocks;
    let kernel = sys::CUDA_KERNEL_NODE_PARAMS {
        func: function.raw(),
        gridDimX: x,
        gridDimY: y,
        gridDimZ: z,
        blockDimX: grid.threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: 0,
        kernelParams: parameters.as_mut_ptr(),
        extra: null_mut(),
    };
    work(&raw const kernel)
}

/// A copy in the driver's terms: a box of one row.
fn box_of(upload: &Upload) -> sys::CUDA_MEMCPY3D {
    sys::CUDA_MEMCPY3D {
        srcXInBytes: 0,
        srcY: 0,
        srcZ: 0,
        srcLOD: 0,
        srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_HOST,
        srcHost: upload.source(),
        srcDevice: 0,
        srcArray: null_mut(),
        reserved0: null_mut(),
        srcPitch: 0,
        srcHeight: 0,
        dstXInBytes: 0,
        dstY: 0,
        dstZ: 0,
        dstLOD: 0,
        dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
        dstHost: null_mut(),
        dstDevice: upload.to,
        dstArray: null_mut(),
        reserved1: null_mut(),
        dstPitch: 0,
        dstHeight: 0,
        WidthInBytes: upload.bytes,
        Height: 1,
        Depth: 1,
    }
}

/// A graph that can be launched.
pub(crate) struct Executable {
    handle: sys::CUgraphExec,
    /// Its nodes are named in changes of the executable.
    _template: Template,
    nodes: Vec<sys::CUgraphNode>,
    list: List,
}

// SAFETY: handles that the driver lets any thread use.
unsafe impl Send for Executable {}

impl Executable {
    /// A graph of the work in the list, which is empty after that. A list that there is no graph of stays as it is.
    pub fn new(op: &'static str, list: &mut List, captures: &CaptureStream) -> Result<Self> {
        let template = Template::new(op)?;
        let mut nodes = Vec::with_capacity(list.len());
        for piece in list.pieces() {
            nodes.push(template.add(op, nodes.last(), &piece, captures)?);
        }
        let mut handle = null_mut();
        // SAFETY: the graph is there; the handle is destroyed with the value.
        check_raw(op, unsafe { sys::cuGraphInstantiateWithFlags(&raw mut handle, template.0, 0) })?;
        Ok(Self { handle, _template: template, nodes, list: core::mem::take(list) })
    }

    /// What it does.
    pub fn list(&self) -> &List {
        &self.list
    }

    /// From now on does the work of `list`, which is at some distance, in whose place its earlier work is left. What is under way is not changed. After a
    /// failure it is of no use, and the list stays as it is.
    pub fn adapt(&mut self, op: &'static str, list: &mut List) -> Result<()> {
        for ((now, new), node) in self.list.pieces().zip(list.pieces()).zip(&self.nodes) {
            if now != new {
                self.change(op, *node, &new)?;
            }
        }
        core::mem::swap(&mut self.list, list);
        Ok(())
    }

    fn change(&self, op: &'static str, node: sys::CUgraphNode, piece: &Piece<'_>) -> Result<()> {
        let outcome = match piece {
            Piece::Kernel { function, grid, arguments } => with_kernel(*function, *grid, arguments, |parameters| {
                // SAFETY: the executable and the node of its template are there, and the parameters are copied.
                unsafe { sys::cuGraphExecKernelNodeSetParams(self.handle, node, parameters) }
            }),
            Piece::Upload(upload) => {
                let (parameters, context) = (box_of(upload), context::current(op)?);
                // SAFETY: as above.
                unsafe { sys::cuGraphExecMemcpyNodeSetParams(self.handle, node, &raw const parameters, context) }
            }
            Piece::Product(_) => return Err(Error::Unsupported { op, what: "products of a graph are not changed" }),
        };
        check_raw(op, outcome)
    }

    /// Queues its work.
    pub fn launch(&self, op: &'static str, stream: &Stream) -> Result<()> {
        // SAFETY: work on memory that is given back, if at all, to a pool whose next user is behind it on the stream.
        check_raw(op, unsafe { sys::cuGraphLaunch(self.handle, stream.as_inner()) })
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        // What a lost device answers is of no use.
        // SAFETY: instantiated in `new`, destroyed once, after its stream was waited for.
        let _ = unsafe { sys::cuGraphExecDestroy(self.handle) };
    }
}
