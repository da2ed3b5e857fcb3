//! `mfm toy2d`.

use crate::{Context, Failure, Result};
use std::path::PathBuf;

/// The options of `mfm toy2d`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder for pictures
    #[arg(long, value_name = "DIR", default_value = "mfm-toy2d")]
    pub out: PathBuf,
}

/// Runs `mfm toy2d`.
///
/// # Errors
/// One sentence for the user.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let _ = (context, arguments);
    Err(Failure::input("mfm toy2d is not built yet"))
}
