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

/// A checkpoint belongs to one version of the library. The seed is made anew by the target's tiny run in a folder `run`:
/// `(cat run/config.json; printf '\0'; cat run/log.jsonl; printf '\0'; cat run/checkpoint.mfm) >fuzz/inputs/run-folder/going-on`.
#[test]
fn one_seed_is_a_run_that_goes_on() {
    let seed = include_bytes!("../../fuzz/inputs/run-folder/going-on");
    assert!(targets::run_folder::goes_on(seed), "the seed going-on of run-folder is of another version: make it anew");
    assert!(!targets::run_folder::goes_on(&seed[..seed.len() - 1]), "a checkpoint that is cut off was taken");
}

/// Who gives the format another version must convert these seeds, or what lies behind the version is no longer tried.
#[test]
fn seeds_of_models_are_models() {
    let folder = format!("{}/../fuzz/inputs/model-file", env!("CARGO_MANIFEST_DIR"));
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = std::fs::read(&file).unwrap();
        let is_whole = mfm_nn::ModelFile::parse(&bytes).is_ok() || mfm_nn::file::ClassifierFile::parse(&bytes).is_ok();
        assert!(is_whole, "{}", file.display());
    }
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
