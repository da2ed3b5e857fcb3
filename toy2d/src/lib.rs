//! Gaussian mixtures in closed form: the exact judge of Meta Flow Maps.
//!
//! For data drawn from a [`GaussianMixture`], all that a Meta Flow Map is to learn is known exactly, on any
//! [`Interpolant`](mfm_core::interpolant::Interpolant) and in any dimension (the name recalls the paper's 2D toy). Everything
//! here runs on the host, in f64, on slices of row-major numbers.
//!
//! | module | what is exact there |
//! |---|---|
//! | [`gaussian`], [`mixture`] | the prior: densities, moments, samples |
//! | [`reward`] | quadratic rewards r, which keep a Gaussian Gaussian |
//! | [`at_time`] | at time t: density, score, drift, and the posterior p(x1 \| x_t) |
//! | [`value`] | V_t(x) = log E\[e^r \| x_t = x\], its gradient, and the tilted target p1 e^r / Z |
//! | [`transport`] | a map from noise to a mixture and back, with its Jacobians |
//! | [`metrics`] | distances between sets of samples: sliced Wasserstein-2, MMD² and the Fréchet distance |
//! | [`inverse_problem`] | random linear-Gaussian inverse problems in any dimension |
//!
//! ```
//! use mfm_core::{Noise, interpolant::Linear};
//! use mfm_toy2d::{AtTime, GaussianMixture, QuadraticReward, ValueAt};
//!
//! let at = AtTime::new(&GaussianMixture::paper(), &Linear, 0.4)?;
//! let value = ValueAt::new(&at, &QuadraticReward::paper())?;
//! let states = [0.5, -0.2, 1.0, 2.0];
//! let (mut drifts, mut values, mut gradients) = ([0.0; 4], [0.0; 2], [0.0; 4]);
//! at.drift(&states, &mut drifts)?;
//! value.values_and_gradients(&states, &mut values, &mut gradients)?;
//! # Ok::<(), mfm_core::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod at_time;
mod check;
pub mod exact;
pub mod gaussian;
pub mod inverse_problem;
mod linear_algebra;
pub mod metrics;
pub mod mixture;
mod normal;
mod posterior;
pub mod reward;
pub mod transport;
pub mod value;

pub use at_time::AtTime;
pub use gaussian::Gaussian;
pub use inverse_problem::{InverseProblem, InverseProblemSpec};
pub use metrics::{Directions, frechet_distance, mmd_squared, sliced_wasserstein};
pub use mixture::GaussianMixture;
pub use posterior::Posterior;
pub use reward::QuadraticReward;
pub use transport::{Axes, Draw, Transport};
pub use value::{Tilted, ValueAt, tilt};
