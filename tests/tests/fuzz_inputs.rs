//! Every fuzz target on every committed input: the seeds, and what was found.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

#[test]
fn inputs_keep_every_promise() {
    for (name, target) in targets::TARGETS {
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
}
