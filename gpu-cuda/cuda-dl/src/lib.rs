//! The CUDA libraries, opened when they are first used.
//!
//! `cust` links against libcuda. This crate defines the symbols it asks for ([`symbols`]): each finds the real one in [`DRIVER`] at its first
//! call, and answers `CUDA_ERROR_NO_DEVICE` where there is no driver. So a program links and starts on any machine, and the same
//! binary finds the GPU on one that has it. [`CUBLASLT`], [`NVRTC`] and [`NCCL`] are opened by name alike; each may be absent.

mod library;
pub mod symbols;

pub use library::{Library, ignore_environment};

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_int};
use cust_raw::CUresult;

/// The driver. Every function of cust goes there.
pub static DRIVER: Library = Library::new("MFM_LIBCUDA", &["libcuda.so.1", "libcuda.so"]);
/// Matrix products with epilogues.
pub static CUBLASLT: Library = Library::of_releases("MFM_LIBCUBLASLT", &["libcublasLt.so.13", "libcublasLt.so.12"]);
/// The compiler of kernels, for a device that no precompiled one fits.
pub static NVRTC: Library = Library::of_releases("MFM_LIBNVRTC", &["libnvrtc.so.13", "libnvrtc.so.12"]);
/// Several devices at once.
pub static NCCL: Library = Library::new("MFM_LIBNCCL", &["libnccl.so.2"]);

const NO_DEVICE: u32 = 100;
const NOT_FOUND: u32 = 500;
const UNKNOWN: u32 = 999;

thread_local! {
    static LAST: Cell<u32> = const { Cell::new(0) };
}

/// The code that the driver last returned to this thread, also one that cust's error type, which is older, takes for unknown.
pub fn last_code() -> u32 {
    LAST.get()
}

/// A result of cust_raw's enum, which knows the codes up to CUDA 11.4; any other becomes `CUDA_ERROR_UNKNOWN`.
fn code(raw: u32) -> CUresult {
    LAST.set(raw);
    let known = matches!(raw, 0..=8 | 34 | 100..=102 | 200..=202 | 205..=224 | 300..=304 | 400 | 401 | 500 | 600 | 700..=705 | 708..=720)
        || matches!(raw, 800..=809 | 900..=911);
    // SAFETY: the codes above are those that the enum, of four bytes, lists.
    unsafe { core::mem::transmute::<u32, CUresult>(if known { raw } else { UNKNOWN }) }
}

/// The release of CUDA that the driver is of, if there is one.
fn driver_release() -> Option<i32> {
    type Function = unsafe extern "C" fn(*mut c_int) -> u32;
    // SAFETY: the symbol has this signature in every libcuda.
    let function = unsafe { DRIVER.function::<Function>("cuDriverGetVersion") }?;
    let mut version = 0;
    // SAFETY: `version` may be written to.
    let status = unsafe { function(&raw mut version) };
    (status == 0).then_some(version / 1000)
}

/// What the driver says of an error code, if it knows it.
pub fn describe(raw: u32) -> Option<&'static str> {
    let mut text = core::ptr::null();
    // SAFETY: `text` may be written to.
    let status = unsafe { error_string(raw, &raw mut text) }?;
    if status != 0 || text.is_null() {
        return None;
    }
    // SAFETY: the driver returned a constant of its own, and is never closed.
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}

/// What the driver's `cuGetErrorString` answers; `None` without a driver.
///
/// # Safety
/// `text` may be written to.
unsafe fn error_string(raw: u32, text: *mut *const c_char) -> Option<u32> {
    // SAFETY: the symbol has this signature in every libcuda.
    let function = unsafe { DRIVER.function::<unsafe extern "C" fn(u32, *mut *const c_char) -> u32>("cuGetErrorString") }?;
    // SAFETY: as the caller promises.
    Some(unsafe { function(raw, text) })
}

/// The driver's own function of this name, as cust formats its errors by it. The error is an integer, as enums are in [`symbols`].
///
/// # Safety
/// `text` may be written to.
#[allow(non_snake_case)] // NVIDIA's name
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(error: c_int, text: *mut *const c_char) -> CUresult {
    // SAFETY: the caller keeps the function's contract.
    match unsafe { error_string(error as u32, text) } {
        Some(status) => code(status),
        None => {
            // SAFETY: the caller says that it may be written to.
            unsafe { *text = c"no CUDA driver was found".as_ptr() };
            code(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_or_unknown() {
        // Every code that the enum does not list must not become one of it: 999 stands for it.
        for raw in 0..2000 {
            let result = code(raw);
            assert!(result as u32 == raw || result == CUresult::CUDA_ERROR_UNKNOWN, "{raw}");
            assert_eq!(last_code(), raw);
        }
        assert_eq!(code(225), CUresult::CUDA_ERROR_UNKNOWN);
        assert_eq!(code(u32::MAX), CUresult::CUDA_ERROR_UNKNOWN);
    }
}
