//! Networks, optimisers, the training loop and model files of Meta Flow Maps.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod layer;
pub mod mlp;
pub mod module;

pub use mlp::{Mlp, MlpConfig};
pub use module::Module;
