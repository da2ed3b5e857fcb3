//! Distances between two sets of samples: sliced Wasserstein-2, MMD² with Gaussian kernels of several widths, and the Fréchet distance.

mod frechet;
mod mmd;
mod sliced;

pub use frechet::frechet_distance;
pub use mmd::{MMD_WIDTHS, mmd_squared};
pub use sliced::{Directions, sliced_wasserstein};
