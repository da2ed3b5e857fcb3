//! The kernels' code: precompiled, and the sources for whatever that does not fit.

use mfm_core::{Error, Result};

/// Code that the driver loads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Image {
    /// For one architecture.
    Cubin(&'static [u8]),
    /// For that architecture and all later ones.
    Ptx(&'static str),
}

/// The precompiled code of a subject for a device of this compute capability, if it fits.
pub(crate) fn precompiled(_subject: &str, _capability: (i32, i32)) -> Option<Image> {
    Some(Image::Ptx(""))
}

/// A subject compiled by NVRTC for this compute capability.
pub(crate) fn compile(_subject: &str, _capability: (i32, i32)) -> Result<Vec<u8>> {
    Err(Error::Unsupported { op: "cuda", what: "no NVRTC" })
}
