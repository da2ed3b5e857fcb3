//! The conformance suite that every backend must pass.
//!
//! [`conformance!`](crate::conformance!) expands into one test for each primitive, hook and property, named after it:
//!
//! ```ignore
//! mfm_tests::conformance!(cpu_f32, CpuDevice::<f32>::new(), Tolerances::F32);
//! // A device that may be missing: a `Result` of one. A test of a missing device says on the terminal that it did not run.
//! mfm_tests::conformance!(cuda, try CudaDevice::new(0), Tolerances::F32);
//! ```
//!
//! Each test calls a [`check`], a function over any [`Device`](mfm_core::Device) that returns a [`Failure`] instead of panicking,
//! so that a backend's own tests can call a single one, and so that this suite can be tested: `broken` holds backends with one
//! fault each, and the suite must catch every one.
//!
//! The judge is the [`reference`](mod@reference) interpreter. With each number it carries the rounding error that an honest evaluation may have
//! collected; see [`Tolerances`].

pub mod broken;
pub mod case;
pub mod check;
pub mod failure;
pub mod input;
mod macros;
pub mod operation;
pub mod program;
pub mod reference;
pub mod tables;
pub mod tolerances;

pub use failure::{Check, Failure};
pub use macros::available;
pub use tables::Group;
pub use tolerances::Tolerances;
