//! The device of a command line.

use super::one_of;
use crate::failure::{Failure, Result};
use clap::builder::TypedValueParser;
use mfm_cpu_ref::{CpuDevice, Float};
use mfm_gpu_cuda::{CudaDevice, OpenError, Options, Precision};
use std::str::FromStr;

/// Which device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The processor.
    #[default]
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
    /// The first GPU if there is one, else the processor.
    Auto,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "auto" => Ok(Self::Auto),
            "cuda" => Ok(Self::Cuda(0)),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(index)) => Ok(Self::Cuda(index)),
                _ => Err("it must be cpu, cuda:0 (or another number), or auto".into()),
            },
        }
    }
}

/// Reads how numbers are kept and multiplied on a GPU.
pub fn precisions() -> impl TypedValueParser<Value = Precision> {
    one_of([
        ("f32", "f32 throughout", Precision::F32),
        ("tf32", "f32, with the factors of matrix products rounded to TF32", Precision::Tf32),
        ("bf16", "Kept in bf16, sums in f32", Precision::Bf16),
    ])
}

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

/// The GPU of a choice; for [`Choice::Auto`] the reason where there is none.
///
/// # Errors
/// If a GPU was asked for by number and cannot be used.
pub fn gpu(choice: Choice, precision: Precision, graphs: bool) -> Result<Result<CudaDevice, Option<OpenError>>> {
    let open = |index| CudaDevice::with_options(index, Options { precision, graphs, ..Options::default() });
    match choice {
        Choice::Cpu => Ok(Err(None)),
        Choice::Auto => Ok(open(0).map_err(Some)),
        Choice::Cuda(index) => match open(index) {
            Ok(device) => Ok(Ok(device)),
            Err(error) => Err(Failure::input(format!("--device cuda:{index}: {error}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, choice) in [("cpu", Choice::Cpu), ("auto", Choice::Auto), ("cuda", Choice::Cuda(0)), ("cuda:3", Choice::Cuda(3))] {
            assert_eq!(text.parse(), Ok(choice));
        }
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            assert!(text.parse::<Choice>().is_err(), "{text}");
        }
    }
}
