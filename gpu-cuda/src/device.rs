//! The device: a context, a stream, memory and kernels.

use crate::abi::{Arguments, FillArgs, NoiseArgs};
use crate::buffer::Buffer;
use crate::failure::{OpenError, check, failure, is_final};
use crate::graph::Capture;
use crate::host::encode;
use crate::kernels::{FILL, Grid, Kernel, Kernels, NOISE_NORMAL, NOISE_WORDS, Suffix};
use crate::memory::{Block, Memory, Pool};
use crate::options::{Options, Storage};
use crate::products::Products;
use crate::properties::{Properties, find};
use crate::queue::Queue;
use crate::staging::{CHUNK, Staging};
use crate::tensor::CudaTensor;
use core::fmt;
use core::hash::Hash;
use core::ops::Range;
use core::sync::atomic::{AtomicI32, Ordering};
use cust::context::{Context, CurrentContext};
use cust::stream::{Stream, StreamFlags};
use mfm_core::tensor::Element;
use mfm_core::{Device, Error, Layout, Noise, Result, Shape};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A GPU: its primary context, a stream of its own, and a pool of memory. Cheap to clone; every clone is the same device, and threads may
/// share it. Two handles opened apart are two devices, also on one GPU: their tensors do not mix.
///
/// Work is queued and done in order; what goes wrong with it may surface later, at [`sync`](Device::sync) or
/// [`to_vec`](mfm_core::Tensor::to_vec). After a failure that the driver does not recover from, every call returns it, and the
/// program may go on elsewhere.
#[derive(Clone)]
pub struct CudaDevice(Arc<Inner>);

/// What all clones share. Fields are dropped in this order.
pub(crate) struct Inner {
    properties: Properties,
    options: Options,
    /// The code of the failure after which nothing works, or 0.
    lost: AtomicI32,
    kernels: Kernels,
    products: Option<Products>,
    pool: Mutex<Pool>,
    staging: Mutex<Staging>,
    /// Where work is gathered into graphs, if it is.
    queue: Option<Mutex<Queue>>,
    capture: Mutex<Option<Capture>>,
    stream: Stream,
    /// Memory that is asked for while a graph is recorded.
    side: Stream,
    context: Context,
}

impl fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { properties, options, .. } = &*self.0;
        f.debug_struct("CudaDevice")
            .field("properties", properties)
            .field("options", options)
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CudaDevice {
    /// The GPU of this number, with the default [`Options`].
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn new(index: usize) -> Result<Self, OpenError> {
        Self::with_options(index, Options::default())
    }

    /// The GPU of this number.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn with_options(index: usize, options: Options) -> Result<Self, OpenError> {
        let (device, properties) = find(index)?;
        if properties.capability < (8, 0) {
            return Err(OpenError::OldDevice { name: properties.name, capability: properties.capability });
        }
        let context = check("cuda", Context::new(device))?;
        check("cuda", CurrentContext::set_current(&context))?;
        // Not joined with the legacy default stream: what anyone does there would break a recording.
        let open = || check("cuda", Stream::new(StreamFlags::NON_BLOCKING, None));
        let (stream, side) = (open()?, open()?);
        let products = if options.cublaslt { Products::open(options.precision) } else { None };
        Ok(Self(Arc::new(Inner {
            kernels: Kernels::new(properties.capability),
            properties,
            options,
            lost: AtomicI32::new(0),
            products,
            pool: Mutex::new(Pool::new(options.memory_limit)),
            staging: Mutex::new(Staging::default()),
            queue: options.graphs.then(Mutex::default),
            capture: Mutex::new(None),
            stream,
            side,
            context,
        })))
    }

    /// What is known of the GPU.
    pub fn properties(&self) -> &Properties {
        &self.0.properties
    }

    /// The options.
    pub fn options(&self) -> Options {
        self.0.options
    }

    /// How many bytes tensors and pool hold.
    pub fn memory(&self) -> Memory {
        locked(&self.0.pool).memory()
    }

    /// The bytes of the GPU that nobody holds, whoever else uses it.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn available(&self) -> Result<usize> {
        self.run("memory", || check("memory", cust::memory::mem_get_info())).map(|(available, _)| available)
    }

    /// Gives the pool's free memory back to the driver.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn trim(&self) -> Result<()> {
        self.directly("trim", || {
            locked(&self.0.pool).evict(0, &self.0.stream);
            Ok(())
        })
    }

    /// Whether matrix products go by cuBLASLt.
    pub fn has_cublaslt(&self) -> bool {
        self.0.products.is_some()
    }

    /// The 64-bit words of `noise`, as the device makes them: bit for bit those of [`Noise::fill_words`].
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn noise_words(&self, noise: &Noise, count: usize) -> Result<Vec<u64>> {
        let buffer = self.buffer("noise", count.saturating_mul(8))?;
        if count > 0 {
            let arguments = noise_arguments(noise, count, buffer.address());
            self.launch("noise", NOISE_WORDS, Suffix::Plain, Grid::pointwise(count), &arguments)?;
        }
        let mut words = Vec::with_capacity(count);
        self.download("noise", buffer.address(), count * 8, &mut |bytes| {
            words.extend(bytes.chunks_exact(8).map(|b| u64::from_ne_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])));
        })?;
        Ok(words)
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn storage(&self) -> Storage {
        self.0.options.precision.storage()
    }

    pub(crate) fn products(&self) -> Option<&Products> {
        self.0.products.as_ref()
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.0.stream
    }

    pub(crate) fn capture(&self) -> MutexGuard<'_, Option<Capture>> {
        locked(&self.0.capture)
    }

    /// Work for the driver, in this device's context. A failure that nothing recovers from is remembered.
    pub(crate) fn run<R>(&self, op: &'static str, work: impl FnOnce() -> Result<R>) -> Result<R> {
        match self.0.lost.load(Ordering::Relaxed) {
            0 => {}
            code => return Err(failure(op, code)),
        }
        let outcome = check(op, CurrentContext::set_current(&self.0.context)).and_then(|()| work());
        if let Err(Error::Device { code, .. }) = outcome
            && is_final(code)
        {
            self.0.lost.store(code, Ordering::Relaxed);
        }
        outcome
    }

    /// Work of some kind for the device's stream, in order.
    pub(crate) fn queue(&self, op: &'static str, kind: &impl Hash, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let gathering = self.0.queue.as_ref().filter(|_| self.capture().is_none());
        self.run(op, || {
            // Held until the work is asked for, so that no other thread launches what was recorded in between.
            let mut queue = gathering.map(locked);
            if let Some(queue) = &mut queue {
                queue.record(op, kind, &self.0.stream, &mut locked(&self.0.staging))?;
            }
            work()
        })
    }

    /// Work that cannot be part of a graph: what was asked of the device before goes there first.
    pub(crate) fn directly<R>(&self, op: &'static str, work: impl FnOnce() -> Result<R>) -> Result<R> {
        self.run(op, || {
            let mut queue = self.0.queue.as_ref().map(locked);
            if let Some(queue) = &mut queue {
                queue.flush(op, &self.0.stream, &mut locked(&self.0.staging))?;
            }
            work()
        })
    }

    /// Queues a kernel.
    pub(crate) fn launch<A: Arguments>(&self, op: &'static str, kernel: Kernel, suffix: Suffix, grid: Grid, arguments: &A) -> Result<()> {
        let kernels = &self.0.kernels;
        let function = match kernels.loaded(kernel, suffix) {
            Some(function) => function,
            None => self.directly(op, || kernels.function(op, kernel, suffix))?,
        };
        self.queue(op, &(kernel, suffix), || function.launch(op, &self.0.stream, grid, arguments))
    }

    /// A buffer of `bytes`, whose content is arbitrary.
    pub(crate) fn buffer(&self, op: &'static str, bytes: usize) -> Result<Buffer> {
        let block = self.run(op, || {
            if let Some(capture) = &mut *self.capture() {
                return capture.take(op, bytes, &mut locked(&self.0.pool), &self.0.side);
            }
            let mut queue = self.0.queue.as_ref().map(locked);
            let mut pool = locked(&self.0.pool);
            if let Some(queue) = queue.as_mut().filter(|_| !pool.has(bytes)) {
                // Memory is asked of the driver between graphs, not by them.
                queue.flush(op, &self.0.stream, &mut locked(&self.0.staging))?;
            }
            pool.take(op, bytes, &self.0.stream)
        })?;
        Ok(Buffer::new(self.clone(), block))
    }

    /// A buffer of `elements` of the device's type.
    pub(crate) fn elements(&self, op: &'static str, elements: usize) -> Result<Buffer> {
        self.buffer(op, elements.saturating_mul(self.storage().bytes()))
    }

    pub(crate) fn give(&self, block: Block) {
        // Where the context cannot be made current there is nothing to give back to.
        let _ = CurrentContext::set_current(&self.0.context);
        match &mut *self.capture() {
            None => self.give_all(vec![block]),
            Some(capture) => capture.give(block),
        }
    }

    /// Gives the blocks of a graph back.
    pub(crate) fn give_all(&self, blocks: Vec<Block>) {
        let _ = CurrentContext::set_current(&self.0.context);
        let mut queue = self.0.queue.as_ref().map(locked);
        let mut pool = locked(&self.0.pool);
        for block in &blocks {
            if let Some(queue) = queue.as_mut().filter(|_| !pool.keeps(block)) {
                // The driver takes it back after the work that uses it. Where that is lost, later calls say so.
                let _ = queue.flush("free", &self.0.stream, &mut locked(&self.0.staging));
            }
            pool.give(block, &self.0.stream);
        }
    }

    /// Queues a copy of `bytes` to the device; `fill` writes the bytes of a range.
    pub(crate) fn upload(&self, op: &'static str, to: u64, bytes: usize, fill: &mut dyn FnMut(Range<usize>, &mut [u8])) -> Result<()> {
        for start in (0..bytes).step_by(CHUNK) {
            let size = CHUNK.min(bytes - start);
            let mut chunk = self.run(op, || locked(&self.0.staging).take(op, size))?;
            fill(start..start + size, chunk.bytes_mut(size));
            self.queue(op, &size, || chunk.upload(op, to + start as u64, size, &self.0.stream))?;
            if let Some(capture) = &mut *self.capture() {
                // The graph reads it at every replay.
                capture.keep(chunk);
                continue;
            }
            let mut queue = self.0.queue.as_ref().map(locked);
            let staging = &mut locked(&self.0.staging);
            match &mut queue {
                Some(queue) => queue.keep(op, chunk, &self.0.stream, staging)?,
                None => staging.give(op, chunk, &self.0.stream)?,
            }
        }
        Ok(())
    }

    /// Copies `bytes` to the host, where `read` takes them piece by piece.
    pub(crate) fn download(&self, op: &'static str, from: u64, bytes: usize, read: &mut dyn FnMut(&[u8])) -> Result<()> {
        if self.capture().is_some() {
            return Err(Error::Unsupported { op, what: "numbers cannot come to the host while a graph is recorded" });
        }
        self.directly(op, || {
            // Also without a byte: what went wrong before is reported here.
            check(op, self.0.stream.synchronize())?;
            for start in (0..bytes).step_by(CHUNK) {
                let size = CHUNK.min(bytes - start);
                let mut chunk = locked(&self.0.staging).take(op, size)?;
                chunk.download(op, from + start as u64, size, &self.0.stream)?;
                check(op, self.0.stream.synchronize())?;
                read(chunk.bytes(size));
                locked(&self.0.staging).give(op, chunk, &self.0.stream)?;
            }
            Ok(())
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = CurrentContext::set_current(&self.context);
        if let Some(queue) = &self.queue {
            locked(queue).discard(&self.stream);
        }
        locked(&self.pool).evict(0, &self.stream);
        // Memory that a copy still reads or writes is not taken away under it. A lost device has no work left.
        let _ = self.stream.synchronize();
        locked(&self.staging).clear();
    }
}

fn noise_arguments(noise: &Noise, elements: usize, out: u64) -> NoiseArgs {
    let bytes = noise.seed();
    let seed = core::array::from_fn(|i| u32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]]));
    NoiseArgs { seed, stream: noise.stream_id(), offset: noise.offset(), elements: elements as i64, out }
}

impl Device for CudaDevice {
    type Tensor = CudaTensor;

    fn from_slice<E: Element>(&self, values: &[E], shape: Shape) -> Result<CudaTensor> {
        if values.len() != shape.elements() {
            return Err(Error::Length { op: "from_slice", expected: shape.elements(), found: values.len() });
        }
        let storage = self.storage();
        let buffer = self.elements("from_slice", values.len())?;
        self.upload("from_slice", buffer.address(), values.len() * storage.bytes(), &mut |range, out| {
            encode(storage, &values[range.start / storage.bytes()..range.end / storage.bytes()], out);
        })?;
        Ok(CudaTensor::new(buffer, shape))
    }

    /// One element, stretched: a constant takes no memory to speak of.
    fn full(&self, value: f64, shape: Shape) -> Result<CudaTensor> {
        let buffer = self.elements("full", 1)?;
        let arguments = FillArgs { elements: 1, out: buffer.address(), value: value as f32, reserved: 0 };
        self.launch("full", FILL, Suffix::Of(self.storage()), Grid::new([1, 1, 1], 32), &arguments)?;
        let one = CudaTensor::new(buffer, Shape::SCALAR);
        let layout = Layout::contiguous(Shape::SCALAR).broadcast(shape);
        layout.map(|layout| one.view(layout)).ok_or(Error::Shape { op: "full", left: Shape::SCALAR, right: shape })
    }

    fn sync(&self) -> Result<()> {
        self.download("sync", 0, 0, &mut |_| {})
    }

    fn normal(&self, noise: &Noise, shape: Shape) -> Result<CudaTensor> {
        let elements = shape.elements();
        let buffer = self.elements("normal", elements)?;
        if elements > 0 {
            let arguments = noise_arguments(noise, elements, buffer.address());
            self.launch("normal", NOISE_NORMAL, Suffix::Of(self.storage()), Grid::pointwise(elements), &arguments)?;
        }
        Ok(CudaTensor::new(buffer, shape))
    }
}
