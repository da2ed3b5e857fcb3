//! The CUDA backend of Meta Flow Maps, over `cust`.
//!
//! The driver is found when the first device is opened: programs build, link and start on machines without it, where opening a device is an error.
//! A [`CudaTensor`] is a view of a shared buffer, so reshaping, permuting, slicing and stretching copy nothing. Buffers come from a pool of the
//! [`CudaDevice`], so a steady loop asks the driver for no memory. Sums have one order: the same work gives the same numbers, bit for bit.
//!
//! ```
//! use mfm_core::{Device, Operations, Shape, Tensor};
//! use mfm_gpu_cuda::CudaDevice;
//!
//! match CudaDevice::new(0) {
//!     Ok(device) => {
//!         let x = device.from_slice(&[1.0, 2.0, 3.0], Shape::new(&[3])?)?;
//!         assert_eq!(x.square()?.sum(0)?.to_vec::<f64>()?, [14.0]);
//!     }
//!     Err(error) => println!("{error}"),
//! }
//! # Ok::<(), mfm_core::Error>(())
//! ```

mod abi;
mod buffer;
mod constants;
mod context;
mod copy;
mod cublaslt;
mod device;
mod elementwise;
mod epilogue;
mod exchange;
mod failure;
mod fused;
mod gpu;
mod graph;
mod host;
mod images;
mod indexing;
mod kernels;
mod matmul;
mod memory;
mod nvrtc;
mod optimiser;
mod options;
mod products;
mod properties;
mod queue;
mod quick;
mod reduce;
mod space;
mod staging;
mod state;
mod stream;
mod tensor;
mod transfer;
mod work;

pub use context::CallersContext;
pub use device::CudaDevice;
pub use exchange::ForeignStream;
pub use failure::OpenError;
pub use memory::Memory;
pub use options::{Epilogues, Options, Precision};
pub use properties::{Library, OLDEST_DRIVER, Properties, devices, libraries};
pub use queue::Graphs;
pub use tensor::CudaTensor;
