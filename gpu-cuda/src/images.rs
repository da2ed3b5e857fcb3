//! The kernels' code: precompiled (`kernels/compile.py`), and the sources for whatever that does not fit.

use crate::nvrtc;
use flate2::read::GzDecoder;
use mfm_core::{Error, Result};
use std::io::Read;

/// A file of kernels.
struct Subject {
    name: &'static str,
    source: &'static str,
    /// For compute capability 8.0 and all later ones; compressed.
    ptx: &'static [u8],
    /// For compute capability 9.0; compressed.
    cubin: &'static [u8],
}

macro_rules! subjects {
    ($($name:literal),+ $(,)?) => {
        const SUBJECTS: &[Subject] = &[$(Subject {
            name: $name,
            source: include_str!(concat!("../kernels/", $name, ".cu")),
            ptx: include_bytes!(concat!("../kernels/compiled/", $name, ".sm_80.ptx.gz")),
            cubin: include_bytes!(concat!("../kernels/compiled/", $name, ".sm_90.cubin.gz")),
        }),+];
    };
}

macro_rules! headers {
    ($($name:literal),+ $(,)?) => {
        /// What the sources include.
        const HEADERS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../kernels/", $name)))),+];
    };
}

subjects!(
    "attention",
    "attention_vjp",
    "copy",
    "elementwise",
    "gemm",
    "index",
    "noise",
    "norm",
    "optimiser",
    "reduce",
    "residual",
    "softmax"
);
headers!("abi.h", "attention.cuh", "device.cuh", "functions.cuh", "product.cuh", "space.cuh", "storage.cuh", "warp.cuh");

fn subject(name: &str) -> Result<&'static Subject> {
    let found = SUBJECTS.iter().find(|subject| subject.name == name);
    found.ok_or(Error::Unsupported { op: "cuda", what: "there are no kernels of this name" })
}

/// The precompiled code of a subject for a device of this compute capability: a cubin for its own architecture, PTX (a text that ends in a zero) for others.
pub(crate) fn precompiled(name: &str, capability: (i32, i32)) -> Result<Vec<u8>> {
    let subject = subject(name)?;
    let packed = if capability == (9, 0) { subject.cubin } else { subject.ptx };
    let mut bytes = Vec::new();
    let unpacked = GzDecoder::new(packed).read_to_end(&mut bytes);
    unpacked.map_err(|_| Error::Unsupported { op: "cuda", what: "the precompiled kernels cannot be unpacked" })?;
    Ok(bytes)
}

/// A subject compiled by NVRTC for this compute capability.
pub(crate) fn compiled(name: &str, capability: (i32, i32)) -> Result<Vec<u8>> {
    let subject = subject(name)?;
    nvrtc::compile(name, subject.source, HEADERS, capability)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn every_subject_is_precompiled() {
        for subject in SUBJECTS {
            let cubin = precompiled(subject.name, (9, 0)).unwrap();
            assert_eq!(&cubin[..4], b"\x7fELF", "{}", subject.name);
            let ptx = precompiled(subject.name, (8, 6)).unwrap();
            let text = std::ffi::CStr::from_bytes_with_nul(&ptx).unwrap().to_str().unwrap();
            assert!(text.contains(".target sm_80") && text.contains(".entry"), "{}", subject.name);
        }
    }

    #[test]
    fn nvrtc_compiles_the_sources() {
        if let Err(reason) = mfm_cuda_dl::NVRTC.library() {
            // Past the test harness, which hides what passing tests print.
            let _ = writeln!(std::io::stderr().lock(), "NOT TESTED: NVRTC: {reason}");
            return;
        }
        assert_eq!(&compiled("copy", (8, 9)).unwrap()[..4], b"\x7fELF");
        // An architecture that it does not know.
        assert!(matches!(compiled("copy", (1, 0)), Err(Error::Unsupported { .. })));
    }
}
