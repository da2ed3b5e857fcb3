//! Runs the target that the environment variable `MFM_FUZZ` names, under libFuzzer, with a limit on memory and on processor time; `MFM_FUZZ=list` prints the names.
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
        let names = targets::TARGETS.map(|(name, _)| name);
        let name = std::env::var("MFM_FUZZ").unwrap_or_default();
        if name == "list" {
            println!("{}", names.join("\n"));
            std::process::exit(0);
        }
        let found = targets::TARGETS.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("MFM_FUZZ must be list or one of {names:?}")).1
    })
}

fuzz_target!(init: { target(); }, |input: &[u8]| {
    let target = target();
    limits::within(input.len(), || target(input));
});
