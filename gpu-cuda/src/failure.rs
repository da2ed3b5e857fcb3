//! What goes wrong on a device, in words.

use crate::cublaslt::{number, status_of};
use core::fmt;
use cust::error::CudaError;
use mfm_core::{Error, Result};

/// What the driver answers where memory runs out.
pub(crate) const OUT_OF_MEMORY: i32 = 2;

/// Why a device cannot be used. The program goes on without it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// libcuda is not there.
    NoDriver {
        /// What the system says.
        reason: String,
    },
    /// The driver is older than the calls that are made.
    OldDriver {
        /// The driver's CUDA version, 1000 major + 10 minor.
        found: i32,
        /// The oldest that will do.
        needed: i32,
    },
    /// A driver, but no device.
    NoDevice,
    /// There are fewer devices.
    NoSuchDevice {
        /// The device asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The device is older than the kernels.
    OldDevice {
        /// Its name.
        name: String,
        /// Its compute capability.
        capability: (i32, i32),
    },
    /// The driver failed.
    Failed(Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |v: i32| (v / 1000, v % 1000 / 10);
        match self {
            Self::NoDriver { reason } => write!(f, "no CUDA driver was found ({reason})"),
            Self::OldDriver { found, needed } => {
                let ((a, b), (c, d)) = (version(*found), version(*needed));
                write!(f, "the CUDA driver is too old: it offers CUDA {a}.{b}, and {c}.{d} is needed")
            }
            Self::NoDevice => f.write_str("the CUDA driver finds no device"),
            Self::NoSuchDevice { index, count } => write!(f, "there is no CUDA device {index}: the driver finds {count}, counted from 0"),
            Self::OldDevice { name, capability: (major, minor) } => {
                write!(f, "the device {name} is too old: its compute capability is {major}.{minor}, and 8.0 is needed")
            }
            Self::Failed(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for OpenError {}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        let what = match error {
            OpenError::NoDriver { .. } => "no CUDA driver was found",
            OpenError::OldDriver { .. } => "the CUDA driver is too old",
            OpenError::NoDevice => "the CUDA driver finds no device",
            OpenError::NoSuchDevice { .. } => "the CUDA driver finds no device of this number",
            OpenError::OldDevice { .. } => "the device is too old: compute capability 8.0 is needed",
            OpenError::Failed(error) => return error,
        };
        Self::Unsupported { op: "cuda", what }
    }
}

/// The driver's code of a failure, which may be newer than cust's list.
fn code_of(error: CudaError) -> i32 {
    match error {
        CudaError::UnknownError => i32::try_from(mfm_cuda_dl::last_code()).unwrap_or(999),
        other => other as i32,
    }
}

/// The driver's outcome as a result.
pub(crate) fn check<T>(op: &'static str, outcome: cust::error::CudaResult<T>) -> Result<T> {
    outcome.map_err(|error| failure(op, code_of(error)))
}

/// The driver's outcome, of a function that cust does not wrap.
pub(crate) fn check_raw(op: &'static str, outcome: cust::sys::CUresult) -> Result<()> {
    match outcome as i32 {
        0 => Ok(()),
        _ => Err(failure(op, i32::try_from(mfm_cuda_dl::last_code()).unwrap_or(999))),
    }
}

/// An error of the device's.
pub(crate) fn failure(op: &'static str, code: i32) -> Error {
    let message = match code {
        OUT_OF_MEMORY => "out of memory",
        222 => "the driver is older than the kernels",
        700 => "a kernel reached outside its memory; the device is lost to this process",
        716 => "a kernel reached a misaligned address; the device is lost to this process",
        719 => "a kernel failed; the device is lost to this process",
        code if is_final(code) => "the device is lost to this process",
        code => u32::try_from(code).ok().and_then(mfm_cuda_dl::describe).unwrap_or("unknown"),
    };
    Error::Device { op, code, message }
}

/// The outcome of work; where the driver, or cuBLASLt, had too little memory for what it keeps itself, that of the work `again`, for which there is room.
pub(crate) fn or_with_room<R>(outcome: Result<R>, again: impl FnOnce() -> Result<R>) -> Result<R> {
    match outcome {
        Err(error) if is_out_of_memory(&error) => again(),
        outcome => outcome,
    }
}

fn is_out_of_memory(error: &Error) -> bool {
    match (status_of(error), error) {
        (Some(status), _) => status == number::ALLOC_FAILED,
        (None, Error::Device { code, .. }) => *code == OUT_OF_MEMORY,
        (None, _) => false,
    }
}

/// Whether every call after this failure fails: the context is gone.
pub(crate) fn is_final(code: i32) -> bool {
    matches!(code, 46 | 79 | 201 | 214 | 220 | 226 | 700 | 702 | 709 | 710 | 714..=719 | 999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_each() {
        let all = [
            OpenError::NoDriver { reason: "not there".into() },
            OpenError::OldDriver { found: 11_080, needed: 12_000 },
            OpenError::NoDevice,
            OpenError::NoSuchDevice { index: 3, count: 1 },
            OpenError::OldDevice { name: "T4".into(), capability: (7, 5) },
        ];
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts[1], "the CUDA driver is too old: it offers CUDA 11.8, and 12.0 is needed");
        for (i, text) in texts.iter().enumerate() {
            assert!(!texts[..i].contains(text));
            assert!(matches!(Error::from(all[i].clone()), Error::Unsupported { .. }));
        }
    }
}
