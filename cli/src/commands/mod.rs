//! The subcommands that work with a saved model, and what there is to compute on.

pub mod classifier;
pub mod completions;
pub mod destination;
pub mod device;
pub mod exchange;
pub mod finetune;
pub mod info;
pub mod plot;
pub mod posterior;
pub mod sample;
pub mod search;
pub mod steer;
pub mod train;
pub mod value;
