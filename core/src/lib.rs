//! ...
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod error;
pub mod interpolant;
pub mod noise;
pub mod shape;

pub use error::{Error, Result};
pub use noise::Noise;
pub use shape::{MAX_RANK, Shape};
