//! `mfm demo`.

use crate::{Context, Failure, Result};
use std::path::PathBuf;

/// The options of `mfm demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder for pictures
    #[arg(long, value_name = "DIR", default_value = "mfm-demo")]
    pub out: PathBuf,
}

/// Runs `mfm demo`.
///
/// # Errors
/// One sentence for the user.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let _ = (context, arguments);
    Err(Failure::input("mfm demo is not built yet"))
}
