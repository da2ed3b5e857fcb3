//! Runs the target that the environment variable `MFM_FUZZ` names, under libFuzzer, with a limit on memory and on processor time.
#![no_main]

mod limits;
mod targets;

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

#[global_allocator]
static COUNTING: limits::Counting = limits::Counting;

fn target() -> fn(&[u8]) {
    static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("MFM_FUZZ").unwrap_or_default();
        let found = targets::TARGETS.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("MFM_FUZZ must be one of {:?}", targets::TARGETS.map(|(name, _)| name))).1
    })
}

fuzz_target!(|input: &[u8]| {
    let target = target();
    limits::within(input.len(), || target(input));
});
