//! Devices, chosen at run time by name.

use crate::dlpack::{DlDevice, Imported, ManagedTensor, export};
use crate::failure::{Code, Failure, Result};
use mfm_core::{Device, Error, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_gpu_cuda::{CudaDevice, CudaTensor};
use std::borrow::Cow;

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
    /// The device of this name.
    ///
    /// # Errors
    /// [`Code::Unsupported`] for a name of none, [`Code::Device`] for one that cannot be used.
    pub fn open(name: &[u8]) -> Result<Self> {
        let name = String::from_utf8_lossy(name);
        match &*name {
            "" | "cpu" => Ok(Self::Cpu(CpuDevice::with_threads(1)?)),
            _ => match name.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(index)) => {
                    mfm_cuda_dl::ignore_environment();
                    let failed = |error| Failure::new(Code::Device, format!("{name}: {error}"));
                    CudaDevice::new(index).map(Self::Cuda).map_err(failed)
                }
                _ => Err(Failure::new(
                    Code::Unsupported,
                    format!("there is no device {name:?}; there are \"cpu\" and \"cuda:0\" (or another number)"),
                )),
            },
        }
    }
}

/// A device on which models can live. A backend is added by implementing this, and by its name in [`AnyDevice`].
pub trait Backend: Device<Tensor: Send + Sync> + Send + Sync {
    /// Its name, by which it is chosen.
    fn name(&self) -> String;

    /// A device for one session: threads and scratch memory of its own, on the host's stream if there is one.
    ///
    /// # Errors
    /// [`Code::Range`] for a bad number of threads, [`Code::Unsupported`] for a stream that cannot be used, and whatever the device reports.
    fn for_session(&self, threads: usize, stream: usize) -> Result<Self>;

    /// The values on the host, without a copy where they are there already.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn host(tensor: &Self::Tensor) -> mfm_core::Result<Cow<'_, [f32]>>;

    /// A tensor of the host's as one of ours, without a copy.
    ///
    /// # Errors
    /// [`Code::DlPack`] if it lives elsewhere.
    fn import(&self, tensor: Imported) -> Result<Self::Tensor>;

    /// One of our tensors for the host, without a copy.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn export(tensor: &Self::Tensor) -> Result<*mut ManagedTensor>;
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

    fn host(tensor: &CpuTensor<f32>) -> mfm_core::Result<Cow<'_, [f32]>> {
        match tensor.as_slice() {
            Some(values) => Ok(Cow::Borrowed(values)),
            None => tensor.to_vec().map(Cow::Owned),
        }
    }

    fn import(&self, tensor: Imported) -> Result<CpuTensor<f32>> {
        let shape = tensor.shape();
        Ok(self.wrap(tensor.into_host()?, shape)?)
    }

    fn export(tensor: &CpuTensor<f32>) -> Result<*mut ManagedTensor> {
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

    /// The model's own device and its stream, which sessions share: work of several is queued one after another.
    fn for_session(&self, threads: usize, stream: usize) -> Result<Self> {
        if stream != 0 {
            return Err(Failure::new(Code::Unsupported, "a stream was given, but sessions on CUDA run on a stream of the library's own"));
        }
        check_threads(threads)?;
        Ok(self.clone())
    }

    fn host(tensor: &CudaTensor) -> mfm_core::Result<Cow<'_, [f32]>> {
        tensor.to_vec().map(Cow::Owned)
    }

    fn import(&self, _: Imported) -> Result<CudaTensor> {
        Err(Failure::new(Code::Unsupported, "DLPack tensors are exchanged on the CPU alone, but the model is on CUDA"))
    }

    fn export(_: &CudaTensor) -> Result<*mut ManagedTensor> {
        Err(Failure::new(Code::Unsupported, "DLPack tensors are exchanged on the CPU alone, but the model is on CUDA"))
    }
}
