//! Meta Flow Maps: the mathematics, over one tensor trait.
//!
//! Times run from noise (t = 0) to data (t = 1): x_t = α_t x0 + β_t x1 with x0 ~ N(0, I). A [`MetaFlowMap`] turns noise into samples of the
//! posterior p(x1 | x_t) in one differentiable step; everything else follows from those draws.
//!
//! | module | what is there |
//! |---|---|
//! | [`tensor`], [`shape`], [`layout`], [`autodiff`], [`error`], [`memory`] | the trait that backends implement, how they may lay numbers out, derivatives in both directions |
//! | [`noise`] | explicit, counter-based noise |
//! | [`interpolant`], [`times`] | α and β, and grids of times |
//! | [`flow_map`], [`drift`] | the sampling contract, and the velocity that a map must have on its diagonal |
//! | [`reward`], [`guidance`], [`draws`], [`categorical`] | rewards, estimators of the value V_t(x) = log E\[exp r(X1) \| x_t = x\] and its gradient, choices by weight |
//! | [`plan`] | an estimator chosen at run time, with its options |
//! | [`sample`], [`steer`], [`resample`], [`coupling`], [`posterior_mcmc`], [`population`], [`search`], [`best_of`](mod@best_of) | samplers |
//! | [`training`] | objectives, and fine-tuning to a reward |
//!
//! Every operation that can fail returns a [`Result`]; nothing panics on bad input.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod autodiff;
pub mod best_of;
pub mod categorical;
pub mod coupling;
pub mod draws;
pub mod drift;
pub mod error;
pub mod flow_map;
pub mod guidance;
pub mod interpolant;
pub mod layout;
pub mod memory;
pub mod noise;
pub mod plan;
pub mod population;
pub mod posterior_mcmc;
pub mod resample;
pub mod reward;
pub mod sample;
pub mod search;
pub mod shape;
pub mod steer;
pub mod tensor;
pub mod times;
pub mod training;
mod weights;

pub use draws::Draws;
pub use error::{Error, Result};
pub use flow_map::{Condition, Flow, Lift, MetaFlowMap, Query};
pub use interpolant::{Interpolant, Linear};
pub use layout::Layout;
pub use noise::Noise;
pub use plan::{Estimator, Plan};
pub use reward::Reward;
pub use sample::Sampler;
pub use shape::{MAX_RANK, Shape};
pub use tensor::{Device, Operations, Tensor};
pub use times::TimeGrid;
