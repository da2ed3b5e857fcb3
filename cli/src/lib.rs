//! The command `mfm`: data, training runs, samples, steering, pictures and progress, as a library that `main.rs` calls.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod classifier;
pub mod commands;
pub mod context;
pub mod data;
pub mod experiments;
pub mod failure;
pub mod model;
pub mod output;
pub mod progress;
pub mod reward;
pub mod run;
pub mod steering;
pub mod table;
pub mod training;

pub use context::Context;
pub use failure::{Failure, Place, Result};
pub use progress::Progress;
pub use table::Table;
