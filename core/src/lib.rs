//! The mathematics of Meta Flow Maps over one tensor trait.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod autodiff;
pub mod baseline;
pub mod categorical;
pub mod draws;
pub mod error;
pub mod flow_map;
pub mod guidance;
pub mod interpolant;
pub mod noise;
pub mod posterior_mcmc;
pub mod posterior_velocity;
pub mod resample;
pub mod reward;
pub mod sample;
pub mod search;
pub mod shape;
pub mod steer;
pub mod tensor;
pub mod times;
pub mod training;

pub use draws::Draws;
pub use error::{Error, Result};
pub use flow_map::{Condition, Flow, Lift, MetaFlowMap, Query};
pub use interpolant::Interpolant;
pub use noise::Noise;
pub use reward::Reward;
pub use shape::{MAX_RANK, Shape};
pub use tensor::{Device, Operations, Tensor};
pub use times::TimeGrid;
