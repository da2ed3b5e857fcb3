//! Files of models and of classifiers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod classifier;
#[path = "../common/mod.rs"]
mod common;
mod damaged;
#[cfg(unix)]
mod disk;
mod model;
mod saved;
