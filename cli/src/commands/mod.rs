//! The subcommands that work with a saved model.

pub mod destination;
pub mod info;
pub mod posterior;
pub mod sample;
pub mod steer;
pub mod train;
pub mod value;
