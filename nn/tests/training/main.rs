//! Training: the loop, the learned weighting, and a run on the smallest machines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bare_metal;
#[path = "../common/mod.rs"]
mod common;
mod fine_tuning;
mod train;
mod weighting;
