//! The devices of the command line.

use crate::failure::Result;
use mfm_cpu_ref::{CpuDevice, Float};

/// The processor with so many threads, or all of them.
///
/// # Errors
/// If the threads cannot be started.
pub fn host<E: Float>(threads: Option<usize>) -> Result<CpuDevice<E>> {
    Ok(match threads {
        None => CpuDevice::new(),
        Some(threads) => CpuDevice::with_threads(threads)?,
    })
}
