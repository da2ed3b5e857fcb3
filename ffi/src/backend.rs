//! Devices, chosen at run time by name.

use crate::bridge::ffi::Place;
use crate::dlpack::{DlDevice, Imported, ManagedTensor, export};
use crate::failure::{Code, Failure, Result};
use mfm_core::{Device, Error, Shape, Tensor, memory};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_gpu_cuda::{CudaDevice, CudaTensor, ForeignStream, Options, Precision};
use std::borrow::Cow;
use std::ffi::c_void;

/// The most threads that can be asked for.
const MOST_THREADS: usize = 1024;

/// A device of some backend.
pub enum AnyDevice {
    /// The processor.
    Cpu(CpuDevice<f32>),
    /// A GPU.
    Cuda(CudaDevice),
}

impl AnyDevice {
    /// The device of this name, as the host wants it.
    ///
    /// # Errors
    /// [`Code::Unsupported`] for a name of none, and on the CPU for what only a GPU can; [`Code::Range`] for a precision that is none;
    /// [`Code::Device`] for a device that cannot be used.
    pub fn open(place: &Place<'_>) -> Result<Self> {
        let name = String::from_utf8_lossy(place.device);
        let precision = precision(place.precision)?;
        match &*name {
            "" | "cpu" if precision != Precision::F32 || place.graphs => {
                Err(Failure::new(Code::Unsupported, "the CPU computes in f32, and without CUDA graphs"))
            }
            "" | "cpu" => Ok(Self::Cpu(CpuDevice::with_threads(1)?)),
            _ => match name.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(index)) => {
                    mfm_cuda_dl::ignore_environment();
                    let failed = |error| Failure::new(Code::Device, format!("{name}: {error}"));
                    let options = Options { precision, graphs: place.graphs, ..Options::default() };
                    CudaDevice::with_options(index, options).map(Self::Cuda).map_err(failed)
                }
                _ => Err(Failure::new(
                    Code::Unsupported,
                    format!("there is no device {name:?}; there are \"cpu\" and \"cuda:0\" (or another number)"),
                )),
            },
        }
    }
}

/// The precision of this number, as `mfm_precision` has it.
fn precision(number: u32) -> Result<Precision> {
    match number {
        0 => Ok(Precision::F32),
        1 => Ok(Precision::Tf32),
        2 => Ok(Precision::Bf16),
        _ => Err(Failure::new(Code::Range, format!("there is no precision {number}"))),
    }
}

/// A device on which models can live. A backend is added by implementing this, and by its name in [`AnyDevice`].
pub trait Backend: Device<Tensor: Send + Sync> + Send + Sync {
    /// Its name, by which it is chosen.
    fn name(&self) -> String;

    /// A device for one session: threads and scratch memory of its own.
    ///
    /// # Errors
    /// [`Code::Range`] for a bad number of threads, [`Code::Unsupported`] for a stream that cannot be used, and whatever the device reports.
    fn for_session(&self, threads: usize, stream: usize) -> Result<Self>;

    /// The values on the host, without a copy where they are there already.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn host(tensor: &Self::Tensor) -> mfm_core::Result<Cow<'_, [f32]>>;

    /// A tensor of the host's as one of ours, without a copy; it is ready in the order of the session's stream, if there is one.
    ///
    /// # Errors
    /// [`Code::DlPack`] if it lives elsewhere.
    fn import(&self, tensor: Imported, stream: usize) -> Result<Self::Tensor>;

    /// Checks that there is room for a tensor of this shape beside what there is, before it is made piece by piece.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn check_room(&self, shape: Shape) -> Result<()>;

    /// Checks that tensors of this device can be handed out.
    ///
    /// # Errors
    /// [`Code::Unsupported`] for one whose numbers are not kept in f32.
    fn check_export(&self) -> Result<()> {
        Ok(())
    }

    /// One of our tensors for the host, without a copy, likewise ready.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn export(tensor: &Self::Tensor, stream: usize) -> Result<*mut ManagedTensor>;
}

fn check_threads(threads: usize) -> Result<()> {
    if threads == 0 || threads > MOST_THREADS {
        return Err(Failure::new(Code::Range, format!("the number of threads is {threads}, but must be between 1 and {MOST_THREADS}")));
    }
    Ok(())
}

impl Backend for CpuDevice<f32> {
    fn name(&self) -> String {
        "cpu".into()
    }

    fn for_session(&self, threads: usize, stream: usize) -> Result<Self> {
        if stream != 0 {
            return Err(Failure::new(Code::Unsupported, "a stream was given, but the model is on the CPU, which has none"));
        }
        check_threads(threads)?;
        Ok(Self::with_threads(threads)?)
    }

    fn check_room(&self, shape: Shape) -> Result<()> {
        // Nothing is written, so it costs nothing.
        Ok(memory::room::<f32>("the result", shape.elements()).map(drop)?)
    }

    fn host(tensor: &CpuTensor<f32>) -> mfm_core::Result<Cow<'_, [f32]>> {
        match tensor.as_slice() {
            Some(values) => Ok(Cow::Borrowed(values)),
            None => tensor.to_vec().map(Cow::Owned),
        }
    }

    fn import(&self, tensor: Imported, _: usize) -> Result<CpuTensor<f32>> {
        let shape = tensor.shape();
        Ok(self.wrap(tensor.into_host()?, shape)?)
    }

    fn export(tensor: &CpuTensor<f32>, _: usize) -> Result<*mut ManagedTensor> {
        let tensor = tensor.contiguous()?;
        let missing = Error::Unsupported { op: "DLPack", what: "the tensor is not contiguous" };
        let data = tensor.as_slice().ok_or(missing)?.as_ptr();
        let shape = tensor.shape();
        Ok(export(tensor, data, DlDevice::CPU, shape))
    }
}

impl Backend for CudaDevice {
    fn name(&self) -> String {
        format!("cuda:{}", self.properties().index)
    }

    /// The model's own device and its stream, which sessions share: work of several is queued one after another. Tensors of the host's come and
    /// go in the order of its own stream.
    fn for_session(&self, threads: usize, _: usize) -> Result<Self> {
        check_threads(threads)?;
        Ok(self.clone())
    }

    fn host(tensor: &CudaTensor) -> mfm_core::Result<Cow<'_, [f32]>> {
        tensor.to_vec().map(Cow::Owned)
    }

    fn import(&self, tensor: Imported, stream: usize) -> Result<CudaTensor> {
        let (shape, address) = (tensor.shape(), tensor.address_on(DlDevice::cuda(self.properties().index))?);
        let stream = foreign(stream);
        if let Some(stream) = stream {
            self.follow(stream)?;
        }
        let owner = Borrowed { _tensor: tensor, device: self.clone(), stream };
        // SAFETY: on this GPU and row-major, as was checked; it stays as it is until it is given back, as `mfm.h` has the host promise.
        Ok(unsafe { self.wrap(address as u64, owner, shape) }?)
    }

    fn check_room(&self, shape: Shape) -> Result<()> {
        self.zeros(shape)?.contiguous()?;
        Ok(())
    }

    fn check_export(&self) -> Result<()> {
        if self.options().precision == Precision::Bf16 {
            return Err(Failure::new(Code::Unsupported, "the model's numbers are kept in bf16, and DLPack tensors are of f32"));
        }
        Ok(())
    }

    fn export(tensor: &CudaTensor, stream: usize) -> Result<*mut ManagedTensor> {
        let (device, stream, shape) = (tensor.device(), foreign(stream), tensor.shape());
        device.check_export()?;
        let tensor = tensor.contiguous()?;
        match stream {
            Some(stream) => device.precede(stream)?,
            None => device.sync()?,
        }
        let (place, address) = (DlDevice::cuda(device.properties().index), tensor.address());
        Ok(export(Handed { _tensor: tensor, device, stream }, address as *const f32, place, shape))
    }
}

/// A stream of the host's, if there is one.
fn foreign(stream: usize) -> Option<ForeignStream> {
    // SAFETY: a live stream of the GPU's as long as sessions and tensors are in use, as `mfm.h` has the host promise.
    (stream != 0).then(|| unsafe { ForeignStream::from_raw(stream as *mut c_void) })
}

/// A tensor of the host's on a GPU, which is given back when what reads it is done.
struct Borrowed {
    _tensor: Imported,
    device: CudaDevice,
    stream: Option<ForeignStream>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // What a lost device answers is of no use: nothing reads the memory any more.
        let _ = match self.stream {
            Some(stream) => self.device.precede(stream),
            None => self.device.sync(),
        };
    }
}

/// A tensor of ours in the host's hands, whose memory is used again when what the host has queued by then is done.
struct Handed {
    _tensor: CudaTensor,
    device: CudaDevice,
    stream: Option<ForeignStream>,
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(stream) = self.stream {
            // As above.
            let _ = self.device.follow(stream);
        }
    }
}
