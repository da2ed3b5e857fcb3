//! Distances between two sets of samples: sliced Wasserstein-2, and MMD² with Gaussian kernels of several widths.

mod mmd;
mod sliced;

pub use mmd::{MMD_WIDTHS, mmd_squared};
pub use sliced::{Directions, sliced_wasserstein};
