//! What there is on this machine.

use crate::failure::{OpenError, check};
use cust::device::{Device, DeviceAttribute};
use cust::error::CudaError;
use cust::{CudaApiVersion, CudaFlags};
use mfm_cuda_dl::{CUBLASLT, DRIVER, NCCL, NVRTC};

/// The oldest driver that will do, 1000 major + 10 minor.
pub const OLDEST_DRIVER: i32 = 12_000;

/// What is known of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Its number, counted from 0.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Its compute capability, major and minor.
    pub capability: (i32, i32),
    /// Its memory in bytes.
    pub memory: usize,
    /// Its multiprocessors.
    pub multiprocessors: i32,
    /// Its L2 cache in bytes.
    pub cache: usize,
    /// The driver's CUDA version, 1000 major + 10 minor.
    pub driver: i32,
}

/// A library that CUDA work may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: &'static str,
    /// The file it was found in, or why it was not.
    pub file: Result<String, String>,
    /// What its absence costs.
    pub without: &'static str,
}

/// The libraries, found or not.
pub fn libraries() -> Vec<Library> {
    let library = |name, library: &mfm_cuda_dl::Library, without| Library { name, file: library.name().map_err(str::to_owned), without };
    vec![
        library("CUDA driver", &DRIVER, "no GPU can be used"),
        library("cuBLASLt", &CUBLASLT, "matrix products go by a plain kernel, which is slower"),
        library(
            "NVRTC",
            &NVRTC,
            "the kernels run only where the precompiled ones do: compute capability 8.0 or newer, a driver for CUDA 13",
        ),
        library("NCCL", &NCCL, "nothing so far: work goes to one device"),
    ]
}

/// Every GPU of this machine.
///
/// # Errors
/// Why there is none.
pub fn devices() -> Result<Vec<Properties>, OpenError> {
    let (count, driver) = count()?;
    (0..count).map(|index| describe(index, driver).map(|(_, properties)| properties)).collect()
}

/// The device of this number.
pub(crate) fn find(index: usize) -> Result<(Device, Properties), OpenError> {
    let (count, driver) = count()?;
    if index >= count {
        return Err(OpenError::NoSuchDevice { index, count });
    }
    describe(index, driver)
}

/// How many devices there are, and the driver's version.
fn count() -> Result<(usize, i32), OpenError> {
    DRIVER.library().map_err(|reason| OpenError::NoDriver { reason: reason.to_owned() })?;
    let version = check("cuda", CudaApiVersion::get())?;
    let found = version.major() * 1000 + version.minor() * 10;
    if found < OLDEST_DRIVER {
        return Err(OpenError::OldDriver { found, needed: OLDEST_DRIVER });
    }
    match cust::init(CudaFlags::empty()) {
        Err(CudaError::NoDevice) => return Err(OpenError::NoDevice),
        outcome => check("cuda", outcome)?,
    }
    match check("cuda", Device::num_devices())? {
        0 => Err(OpenError::NoDevice),
        count => Ok((count as usize, found)),
    }
}

fn describe(index: usize, driver: i32) -> Result<(Device, Properties), OpenError> {
    let device = check("cuda", Device::get_device(u32::try_from(index).unwrap_or(u32::MAX)))?;
    let attribute = |which| check("cuda", device.get_attribute(which));
    let properties = Properties {
        index,
        name: check("cuda", device.name())?,
        capability: (attribute(DeviceAttribute::ComputeCapabilityMajor)?, attribute(DeviceAttribute::ComputeCapabilityMinor)?),
        memory: check("cuda", device.total_memory())?,
        multiprocessors: attribute(DeviceAttribute::MultiprocessorCount)?,
        cache: usize::try_from(attribute(DeviceAttribute::L2CacheSize)?).unwrap_or(0),
        driver,
    };
    Ok((device, properties))
}
