//! The mathematics of Meta Flow Maps over one tensor trait.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod autodiff;
pub mod error;
pub mod interpolant;
pub mod noise;
pub mod shape;
pub mod tensor;

pub use error::{Error, Result};
pub use noise::Noise;
pub use shape::{MAX_RANK, Shape};
pub use tensor::{Device, Operations, Tensor};
