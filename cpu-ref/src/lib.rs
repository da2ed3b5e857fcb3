//! The ndarray backend of Meta Flow Maps, in f32 and f64: the embedded default, and the arbiter of other backends' kernels.
//!
//! A [`CpuTensor`] is a view of a shared buffer, so reshaping, permuting, slicing and stretching copy nothing. Buffers come from
//! a pool that the [`CpuDevice`] keeps, so a steady loop asks the system for no memory; a few numbers are
//! kept in the tensor itself. Work is cut at boundaries that depend on shapes only and spread over the device's own threads: results are the same, bit by bit, on any number of them.
//!
//! Without the feature `std` (on by default) there is one thread, no pool, and ndarray's own matrix product.
//!
//! ```
//! use mfm_core::{Device, Operations, Shape, Tensor};
//! use mfm_cpu_ref::CpuDevice;
//!
//! let device = CpuDevice::<f32>::new();
//! let x = device.from_slice(&[1.0, 2.0, 3.0], Shape::new(&[3])?)?;
//! assert_eq!(x.square()?.sum(0)?.to_vec::<f64>()?, [14.0]);
//! # Ok::<(), mfm_core::Error>(())
//! ```
#![no_std]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod buffer;
#[cfg(feature = "std")]
mod caches;
mod copy;
mod device;
#[cfg(feature = "std")]
mod dots;
mod elementwise;
mod float;
mod fused;
mod gemm;
mod indexing;
mod kernels;
mod math;
mod matmul;
mod memory;
mod optimiser;
mod outer;
#[cfg(feature = "std")]
mod panel;
mod prefetch;
mod reduce;
mod simd;
mod tensor;
mod ternary;
mod view;
mod walk;
mod workers;

pub use device::CpuDevice;
pub use float::Float;
pub use memory::Memory;
pub use tensor::CpuTensor;
