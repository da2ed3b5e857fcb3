//! What is fuzzed. A target takes any bytes, and panics where a promise is broken.
//!
//! A test of the workspace (`tests/tests/fuzz_inputs.rs`) runs every target on every file in `inputs/`, so what was once found stays mended.

mod calls;
mod data;
mod interpolants;
mod model_file;
mod noise;
mod programs;
mod reward;
pub mod run_folder;
mod safetensors;

/// A name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 18] = [
    ("model-file", model_file::any_bytes),
    ("model-header", model_file::repaired),
    ("csv", data::csv),
    ("csv-gz", data::csv_gz),
    ("npy", data::npy),
    ("idx", data::idx),
    ("image", data::image),
    ("shard", data::shard),
    ("safetensors", safetensors::any_bytes),
    ("safetensors-header", safetensors::header),
    ("run-folder", run_folder::any_files),
    ("reward", reward::text),
    ("reward-json", reward::json),
    ("calls", calls::any_order),
    ("interpolants", interpolants::all_times),
    ("noise", noise::any_place),
    ("programs", programs::values),
    ("program-derivatives", programs::derivatives),
];

/// The first `N` bytes, and the rest; `None` if there are fewer.
fn take<'a, const N: usize>(input: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(first)
}

/// A number of any bits.
fn number(input: &mut &[u8]) -> Option<f64> {
    take(input).map(|bytes| f64::from_le_bytes(*bytes))
}

/// A time in [0, 1], often near one of its ends.
fn time(input: &mut &[u8]) -> Option<f64> {
    let [kind] = *take::<1>(input)?;
    let uniform = u32::from_le_bytes(*take(input)?) as f64 / f64::from(u32::MAX);
    let tiny = (-40.0 * uniform).exp2();
    Some(match kind % 5 {
        0 => uniform,
        1 => tiny,
        2 => 1.0 - tiny,
        3 => f64::from(kind >> 7),
        _ => f64::from_bits((uniform * 1f64.to_bits() as f64) as u64),
    })
}
