//! `mfm completions`: scripts by which a shell completes the words of this command.

use crate::arguments;
use crate::context::Context;
use crate::failure::Result;
use clap_complete::Shell;
use mfm_core::Tensor;

/// The options of `mfm completions`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The shell
    pub shell: Shell,
}

/// Runs `mfm completions`.
///
/// # Errors
/// If standard output cannot be written.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut arguments::command(), "mfm", &mut script);
    context.print(String::from_utf8_lossy(&script).trim_end())
}
