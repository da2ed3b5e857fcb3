//! Runs of training in a folder: options, log, checkpoint and model. A run that is killed goes on from its checkpoint as if it never had been.

mod checkpoint;
mod folder;
mod log;
mod options;
mod watch;

pub use checkpoint::{Checkpoint, State};
pub use folder::{Options, RunFolder};
pub use log::{Line, Log};
pub use options::command_of;
pub use watch::Watch;

pub(crate) use options::complete;
