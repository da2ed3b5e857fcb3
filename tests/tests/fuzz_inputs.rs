//! Every fuzz target on every committed input: the seeds, and what was found.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

/// Runs a target on its inputs, and on nothing.
fn repeat((name, target): targets::Target) {
    let folder = format!("{}/../fuzz/inputs/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    for file in files {
        println!("{}", file.display());
        target(&std::fs::read(&file).unwrap());
    }
    target(&[]);
}

#[test]
fn inputs_keep_every_promise() {
    targets::TARGETS.into_iter().filter(|(name, _)| *name != "calls").for_each(repeat);
}

/// By itself, so that Valgrind can watch it alone.
#[test]
fn calls_keep_every_promise() {
    targets::TARGETS.into_iter().filter(|(name, _)| *name == "calls").for_each(repeat);
}

#[test]
fn every_function_of_the_header_is_called() {
    let header = include_str!("../../ffi/include/mfm/mfm.h");
    let calls = [
        include_str!("../../fuzz/src/targets/calls/mod.rs"),
        include_str!("../../fuzz/src/targets/calls/models.rs"),
        include_str!("../../fuzz/src/targets/calls/sessions.rs"),
    ];
    let declared = header.lines().filter(|line| line.starts_with("MFM_API ")).map(|line| line.split('(').next().unwrap());
    let names: Vec<&str> = declared.map(|line| line.rsplit([' ', '*']).next().unwrap()).collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        assert!(
            calls.iter().any(|text| text.contains(&format!("c::{name}("))),
            "{name} is in the header, but has no call in the fuzz target"
        );
    }
}
