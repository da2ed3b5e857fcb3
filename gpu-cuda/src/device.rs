//! The device: a context, a stream, memory and kernels.

use crate::abi::{Arguments, FillArgs, NoiseArgs};
use crate::buffer::Buffer;
use crate::constants::Constants;
use crate::context::{CallersContext, make_current};
use crate::cublaslt::status_of;
use crate::failure::{OpenError, check, failure, is_final, or_with_room};
use crate::gpu::GpuHandle;
use crate::graph::CaptureStream;
use crate::host::encode;
use crate::kernels::{FILL, Function, Grid, Kernel, NOISE_NORMAL, NOISE_WORDS, Suffix};
use crate::memory::{Block, Memory, Pool};
use crate::options::{Options, Precision, Storage};
use crate::products::Products;
use crate::properties::{Properties, find};
use crate::queue::{Graphs, Queue};
use crate::staging::Staging;
use crate::state::State;
use crate::stream::Stream;
use crate::tensor::CudaTensor;
use crate::work::Piece;
use core::fmt;
use core::sync::atomic::{AtomicI32, Ordering};
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
pub struct CudaDevice {
    inner: Arc<Inner>,
    /// That of the options, or f32 of the handle that is [`precise`](Device::precise) to one in bf16.
    precision: Precision,
}

/// What all clones share. Fields are dropped in this order.
pub(crate) struct Inner {
    properties: Properties,
    options: Options,
    /// The code of the failure after which nothing works, or 0.
    lost: AtomicI32,
    state: Mutex<State>,
    stream: Stream,
    gpu: GpuHandle,
}

impl Inner {
    pub fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}

impl fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { properties, options, .. } = &*self.inner;
        f.debug_struct("CudaDevice")
            .field("properties", properties)
            .field("options", options)
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
        let gpu = GpuHandle::new(device, &properties)?;
        let stream = Stream::new("cuda")?;
        let state = State {
            pool: Pool::new(options.memory_limit),
            staging: Staging::default(),
            queue: if options.graphs { Some(Queue::new(CaptureStream::new("cuda", gpu.capture_lock())?)) } else { None },
            constants: Constants::default(),
        };
        let inner = Arc::new(Inner { properties, options, lost: AtomicI32::new(0), state: Mutex::new(state), stream, gpu });
        inner.gpu.join(&inner);
        let device = Self { inner, precision: options.precision };
        if options.cublaslt {
            // Now, and not in the middle of the first work.
            device.run("cuda", || device.inner.gpu.open_products())?;
        }
        Ok(device)
    }

    /// What is known of the GPU.
    pub fn properties(&self) -> &Properties {
        &self.inner.properties
    }

    /// The options.
    pub fn options(&self) -> Options {
        self.inner.options
    }

    /// How many bytes tensors and pool hold.
    pub fn memory(&self) -> Memory {
        self.state().pool.memory()
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
        self.directly("trim", |state| {
            for block in state.constants.clear() {
                state.pool.give(&block, &self.inner.stream);
            }
            state.pool.evict(0, &self.inner.stream);
            Ok(())
        })
    }

    /// What became of the work that was gathered into graphs; `None` without [`Options::graphs`].
    pub fn graphs(&self) -> Option<Graphs> {
        self.state().queue.as_ref().map(Queue::counts)
    }

    /// Whether matrix products go by cuBLASLt.
    pub fn has_cublaslt(&self) -> bool {
        self.products().is_some()
    }

    /// The 64-bit words of `noise`, as the device makes them: bit for bit those of [`Noise::fill_words`].
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn noise_words(&self, noise: &Noise, count: usize) -> Result<Vec<u64>> {
        let buffer = self.buffer("noise", count.saturating_mul(8))?;
        if count > 0 {
            let arguments = noise_arguments(noise, count, buffer.address());
            self.launch("noise", NOISE_WORDS, Suffix::Plain, Grid::pointwise(count, BLOCK_WORDS), &arguments)?;
        }
        let mut words = Vec::with_capacity(count);
        self.download("noise", buffer.address(), count * 8, &mut |bytes| {
            words.extend(bytes.chunks_exact(8).map(|b| u64::from_ne_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])));
        })?;
        Ok(words)
    }

    /// Whether tensors of both can be operands of one operation.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.shares_memory(other) && self.storage() == other.storage()
    }

    /// Whether both are the same device, if they keep different numbers.
    pub(crate) fn shares_memory(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The handle of the precision of the options.
    pub(crate) fn working(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), precision: self.inner.options.precision }
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    pub(crate) fn storage(&self) -> Storage {
        self.precision.storage()
    }

    pub(crate) fn products(&self) -> Option<&Products> {
        if self.inner.options.cublaslt { self.inner.gpu.products() } else { None }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.inner.stream
    }

    pub(crate) fn capture_lock(&self) -> Arc<Mutex<()>> {
        self.inner.gpu.capture_lock()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state()
    }

    /// The failure after which nothing works, if there was one.
    fn alive(&self, op: &'static str) -> Result<()> {
        match self.inner.lost.load(Ordering::Relaxed) {
            0 => Ok(()),
            code => Err(failure(op, code)),
        }
    }

    /// What is behind an error: of what the driver does not recover from, a library makes a status of its own.
    fn cause(&self, op: &'static str, error: Error) -> Error {
        let behind = status_of(&error).and_then(|_| self.inner.stream.synchronize(op).err());
        behind.filter(|behind| matches!(behind, Error::Device { code, .. } if is_final(*code))).unwrap_or(error)
    }

    /// Work for the driver, in this device's context. A failure that nothing recovers from is remembered.
    pub(crate) fn run<R>(&self, op: &'static str, work: impl FnOnce() -> Result<R>) -> Result<R> {
        self.alive(op)?;
        let outcome = make_current(op, &self.inner.gpu.context).and_then(|()| work());
        let outcome = outcome.map_err(|error| self.cause(op, error));
        if let Err(Error::Device { code, .. }) = outcome
            && is_final(code)
        {
            self.inner.lost.store(code, Ordering::Relaxed);
        }
        outcome
    }

    /// Work that the driver or a library may need memory of its own for, as where it loads a kernel: done again, once, when it has what the pools keep.
    pub(crate) fn with_room<R>(&self, op: &'static str, work: impl Fn() -> Result<R>) -> Result<R> {
        or_with_room(work(), || self.reclaim(op).and_then(|()| work()))
    }

    /// Gives the driver what the pools of all handles on the GPU keep.
    fn reclaim(&self, op: &'static str) -> Result<()> {
        self.run(op, || {
            self.inner.gpu.reclaim(op);
            Ok(())
        })
    }

    /// Work for the device's stream, in order.
    pub(crate) fn queue(&self, op: &'static str, work: &Piece<'_>) -> Result<()> {
        let (stream, graphs) = (&self.inner.stream, self.inner.options.graphs);
        self.with_room(op, || self.run(op, || if graphs { self.state().ask(op, work, stream) } else { work.start(op, stream) }))
    }

    /// Work for the device's stream that is not to be part of a graph, and may wait for all work of the GPU.
    pub(crate) fn at_once(&self, op: &'static str, work: &Piece<'_>) -> Result<()> {
        self.with_room(op, || self.directly(op, |_| self.inner.gpu.without_captures(|| work.start(op, &self.inner.stream))))
    }

    /// Work that cannot be part of a graph: what was asked of the device before goes there first.
    pub(crate) fn directly<R>(&self, op: &'static str, work: impl FnOnce(&mut State) -> Result<R>) -> Result<R> {
        self.run(op, || {
            let mut state = self.state();
            state.flush(op, &self.inner.stream)?;
            work(&mut state)
        })
    }

    /// Work that may wait for all work of the GPU: nothing is captured meanwhile, by this device or another.
    pub(crate) fn without_captures<R>(&self, op: &'static str, work: impl FnOnce() -> Result<R>) -> Result<R> {
        self.run(op, || self.inner.gpu.without_captures(work))
    }

    /// Queues a kernel.
    pub(crate) fn launch<A: Arguments>(&self, op: &'static str, kernel: Kernel, suffix: Suffix, grid: Grid, arguments: &A) -> Result<()> {
        self.queue(op, &Piece::Kernel { function: self.function(op, kernel, suffix)?, grid, arguments: arguments.words() })
    }

    /// As [`launch`](Self::launch), of a kernel of which any number of blocks, all in x, does the same.
    pub(crate) fn launch_loop<A: Arguments>(&self, op: &'static str, kernel: Kernel, grid: Grid, arguments: &A) -> Result<()> {
        let (function, kernels) = (self.function(op, kernel, Suffix::Of(self.storage()))?, &self.inner.gpu.kernels);
        let grid = if kernels.is_one_turn(grid) { grid } else { self.run(op, || Ok(kernels.whole(function, grid)))? };
        self.queue(op, &Piece::Kernel { function, grid, arguments: arguments.words() })
    }

    fn function(&self, op: &'static str, kernel: Kernel, suffix: Suffix) -> Result<Function> {
        let kernels = &self.inner.gpu.kernels;
        match kernels.loaded(kernel, suffix) {
            Some(function) => Ok(function),
            None => self.with_room(op, || self.without_captures(op, || kernels.function(op, kernel, suffix))),
        }
    }

    /// Queues a kernel that goes over `elements` of the device's type by vectors.
    pub(crate) fn launch_over<A: Arguments>(&self, op: &'static str, kernel: Kernel, elements: usize, arguments: &A) -> Result<()> {
        self.launch_loop(op, kernel, Grid::vectors(elements * self.storage().bytes()), arguments)
    }

    /// A buffer of `bytes`, whose content is arbitrary.
    pub(crate) fn buffer(&self, op: &'static str, bytes: usize) -> Result<Buffer> {
        Ok(Buffer::new(self.clone(), self.block(op, bytes)?))
    }

    fn block(&self, op: &'static str, bytes: usize) -> Result<Block> {
        match self.own_block(op, bytes) {
            // The pools of other handles on the GPU may keep some.
            Err(Error::OutOfMemory { .. }) if self.state().pool.allows(bytes) => {
                self.reclaim(op)?;
                self.own_block(op, bytes)
            }
            outcome => outcome,
        }
    }

    /// A block of this handle's pool, or the driver's.
    fn own_block(&self, op: &'static str, bytes: usize) -> Result<Block> {
        self.alive(op)?;
        let mut state = self.state();
        if let Some(block) = state.pool.reuse(bytes) {
            return Ok(block);
        }
        self.run(op, || {
            // Memory is asked of the driver between graphs, not by them.
            state.flush(op, &self.inner.stream)?;
            state.pool.take(op, bytes, &self.inner.stream)
        })
    }

    /// A buffer of `elements` of the device's type.
    pub(crate) fn elements(&self, op: &'static str, elements: usize) -> Result<Buffer> {
        self.buffer(op, elements.saturating_mul(self.storage().bytes()))
    }

    pub(crate) fn give(&self, block: Block) {
        let mut state = self.state();
        // What the pool keeps needs no context.
        let callers = (!state.pool.keeps(&block)).then(CallersContext::keep);
        if callers.is_some() {
            // Where the context cannot be made current there is nothing to give back to.
            let _ = make_current("free", &self.inner.gpu.context);
        }
        state.give(&block, &self.inner.stream);
    }

    /// A buffer of one element, which nobody writes to.
    fn constant(&self, value: f32) -> Result<Buffer> {
        self.alive("full")?;
        let known = self.state().constants.find(value, self.storage());
        if let Some(block) = known {
            return Ok(Buffer::shared(self.clone(), block));
        }
        let buffer = Buffer::shared(self.clone(), Arc::new(self.block("full", self.storage().bytes())?));
        let arguments = FillArgs { elements: 1, out: buffer.address(), value, reserved: 0 };
        self.launch("full", FILL, Suffix::Of(self.storage()), Grid::new([1, 1, 1], 32), &arguments)?;
        if let Some(block) = buffer.block() {
            let superseded = self.state().constants.keep(value, self.storage(), block);
            superseded.into_iter().for_each(|block| self.give(block));
        }
        Ok(buffer)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _callers = CallersContext::keep();
        let _ = make_current("drop", &self.gpu.context);
        // What is written down nobody waits for.
        let mut state = locked(&self.state);
        for block in state.constants.clear() {
            state.pool.give(&block, &self.stream);
        }
        state.pool.evict(0, &self.stream);
        // Graphs, and memory that a copy reads or writes, are not taken away under their work. A lost device has no work left.
        let _ = self.stream.synchronize("drop");
    }
}

/// What a thread makes at a time of noise, a block of its cipher.
const BLOCK_WORDS: usize = 8;

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

    /// The same GPU, stream and memory, with numbers kept in f32. In TF32 they are so already, and products are made as ever: it is the device itself.
    fn precise(&self) -> Self {
        if self.storage() == Storage::F32 { self.clone() } else { Self { inner: Arc::clone(&self.inner), precision: Precision::F32 } }
    }

    /// One element, stretched: a constant takes no memory to speak of, and one that was made lately takes no work.
    fn full(&self, value: f64, shape: Shape) -> Result<CudaTensor> {
        let layout =
            Layout::contiguous(Shape::SCALAR).broadcast(shape).ok_or(Error::Shape { op: "full", left: Shape::SCALAR, right: shape })?;
        Ok(CudaTensor::new(self.constant(value as f32)?, Shape::SCALAR).view(layout))
    }

    fn sync(&self) -> Result<()> {
        self.download("sync", 0, 0, &mut |_| {})
    }

    fn normal(&self, noise: &Noise, shape: Shape) -> Result<CudaTensor> {
        let elements = shape.elements();
        let buffer = self.elements("normal", elements)?;
        if elements > 0 {
            let arguments = noise_arguments(noise, elements, buffer.address());
            self.launch("normal", NOISE_NORMAL, Suffix::Of(self.storage()), Grid::pointwise(elements, BLOCK_WORDS), &arguments)?;
        }
        Ok(CudaTensor::new(buffer, shape))
    }
}
