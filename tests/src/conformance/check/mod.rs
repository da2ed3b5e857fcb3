//! The checks: each takes a device and its tolerances, and returns what it found.

mod derivatives;
mod devices;
mod errors;
mod faces;
mod finite;
mod host;
mod noise;
mod optimiser;
mod precise;
mod programs;
mod room;
mod runs;
mod second;
mod sentinels;
mod special;
mod special_derivatives;
mod special_hooks;
mod special_lines;
mod special_movement;
mod tapes;
mod values;
mod wild;

pub use derivatives::{derivatives, first_derivatives};
pub use devices::devices;
pub use errors::errors;
pub use faces::{faces, support};
pub use finite::finite_differences;
pub use host::{creation, transfer};
pub use noise::noise;
pub use optimiser::optimiser;
pub use precise::precise;
pub use programs::{program_derivatives_agree, program_gradients, program_slopes_agree, program_values_agree, programs};
pub use room::room;
pub use second::{second, second_derivatives};
pub use sentinels::{repeatable, sentinels};
pub use special::{special_binary, special_compare, special_select, special_unary};
pub use special_derivatives::{maximum_ties, saturated_derivatives, select_without_nan};
pub use special_hooks::special_hooks;
pub use special_lines::{special_matmul, special_reduce};
pub use special_movement::special_movement;
pub use tapes::{independence, tapes};
pub use values::{composed_values, exacting, large, values};
pub use wild::wild_arguments;

use super::failure::Failure;
use super::reference::ReferenceDevice;
use super::tolerances::Tolerances;

/// The judge of devices of this precision.
fn judge(tolerances: &Tolerances) -> ReferenceDevice {
    ReferenceDevice { relative: tolerances.relative }
}

/// The judge could not do what it was asked: a mistake in the suite.
fn judge_failed(error: mfm_core::Error) -> Failure {
    Failure::from(error).within("the reference itself")
}
