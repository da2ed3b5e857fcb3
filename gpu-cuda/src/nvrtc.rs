//! NVRTC, the compiler of CUDA C++ as a library.

use core::ffi::{CStr, c_char, c_int, c_void};
use mfm_core::{Error, Result};
use mfm_cuda_dl::NVRTC;
use std::ffi::CString;

type Program = *mut c_void;
type Create = unsafe extern "C" fn(*mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Fetch = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;

/// Destroys a program at the end.
struct Owned(Program, Destroy);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: created by NVRTC, destroyed once.
        unsafe { (self.1)(&raw mut self.0) };
    }
}

/// The cubin of a source with its headers for a device of this compute capability.
///
/// # Errors
/// [`Error::Unsupported`] where NVRTC is absent, or does not know the architecture.
pub(crate) fn compile(name: &str, source: &str, headers: &[(&str, &str)], (major, minor): (i32, i32)) -> Result<Vec<u8>> {
    let absent = Error::Unsupported {
        op: "cuda",
        what: "the precompiled kernels do not fit this device or driver, and NVRTC, which could compile them, is absent",
    };
    let refused = Error::Unsupported { op: "cuda", what: "NVRTC cannot compile the kernels for this device" };
    // SAFETY: the functions of these names have these types in NVRTC 12 and 13.
    let functions = unsafe {
        (
            NVRTC.function::<Create>("nvrtcCreateProgram"),
            NVRTC.function::<Compile>("nvrtcCompileProgram"),
            NVRTC.function::<Size>("nvrtcGetCUBINSize"),
            NVRTC.function::<Fetch>("nvrtcGetCUBIN"),
            NVRTC.function::<Destroy>("nvrtcDestroyProgram"),
        )
    };
    let (Some(create), Some(compile), Some(size_of), Some(fetch), Some(destroy)) = functions else { return Err(absent) };
    let text = |text: &str| CString::new(text).map_err(|_| refused);
    let (source, name) = (text(source)?, text(&format!("{name}.cu"))?);
    let names = headers.iter().map(|(name, _)| text(name)).collect::<Result<Vec<_>>>()?;
    let texts = headers.iter().map(|(_, content)| text(content)).collect::<Result<Vec<_>>>()?;
    let options = [text(&format!("--gpu-architecture=sm_{major}{minor}"))?, text("--std=c++17")?];
    let pointers = |texts: &[CString]| texts.iter().map(|text| CStr::as_ptr(text)).collect::<Vec<_>>();
    let (names, texts, options) = (pointers(&names), pointers(&texts), pointers(&options));

    let mut program = core::ptr::null_mut();
    let check = |code: c_int| if code == 0 { Ok(()) } else { Err(refused) };
    // SAFETY: all texts end in a zero and outlive the call; there are as many names as texts.
    check(unsafe { create(&raw mut program, source.as_ptr(), name.as_ptr(), headers.len() as c_int, texts.as_ptr(), names.as_ptr()) })?;
    let program = Owned(program, destroy);
    // SAFETY: the program is there, and so are the options.
    check(unsafe { compile(program.0, options.len() as c_int, options.as_ptr()) })?;
    let mut size = 0;
    // SAFETY: the program is compiled.
    check(unsafe { size_of(program.0, &raw mut size) })?;
    let mut cubin = vec![0u8; size];
    // SAFETY: there is room for `size` bytes.
    check(unsafe { fetch(program.0, cubin.as_mut_ptr().cast()) })?;
    Ok(cubin)
}
