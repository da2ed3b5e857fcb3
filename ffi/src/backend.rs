//! Devices, chosen at run time by name.

use crate::dlpack::{DlDevice, Imported, ManagedTensor, export};
use crate::failure::{Code, Failure, Result};
use mfm_core::{Device, Error, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use std::borrow::Cow;

/// The most threads that can be asked for.
const MOST_THREADS: usize = 1024;

/// A device on which models can live. A backend is added by implementing this, and by its name where models are loaded.
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

impl Backend for CpuDevice<f32> {
    fn name(&self) -> String {
        "cpu".into()
    }

    fn for_session(&self, threads: usize, stream: usize) -> Result<Self> {
        if stream != 0 {
            return Err(Failure::new(Code::Unsupported, "a stream was given, but the model is on the CPU, which has none"));
        }
        if threads == 0 || threads > MOST_THREADS {
            return Err(Failure::new(Code::Range, format!("the number of threads is {threads}, but must be between 1 and {MOST_THREADS}")));
        }
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
