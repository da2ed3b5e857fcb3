//! Running the command `mfm` in a folder of its own.
#![allow(dead_code, missing_docs)] // each test file uses a part of it
#![allow(clippy::unwrap_used)] // a helper of tests

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Says on the terminal that something was not tested, and why: past the test harness, which hides what passing tests print.
pub fn not_tested(what: &str, why: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "NOT TESTED: {what}: {why}");
}

/// A temporary folder in which `mfm` is run.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with the data `points.csv` and a small model `model.mfm` of them.
    pub fn with_model() -> Self {
        let folder = Self::new();
        folder.points();
        folder.succeeds(&TRAIN);
        folder
    }

    /// Writes `points.csv`: 60 points in two dimensions, under a heading.
    pub fn points(&self) {
        let rows = (0..60).map(|k| format!("{},{}\n", (f64::from(k) * 0.7).sin(), f64::from(k % 7) / 3.0 - 1.0));
        self.write("points.csv", ["x,y\n".to_owned()].into_iter().chain(rows).collect::<String>().as_bytes());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn files(&self) -> BTreeSet<String> {
        std::fs::read_dir(self.root()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// All that is in it, also in folders: files with their bytes.
    fn contents(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let (mut all, mut folders) = (BTreeMap::new(), vec![self.root().to_owned()]);
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                folders.extend(path.is_dir().then(|| path.clone()));
                let bytes = std::fs::read(&path).ok();
                all.insert(path, bytes);
            }
        }
        all
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mfm"));
        command.args(arguments).current_dir(self.root()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a line of the shell in which `$MFM` is the program.
    pub fn shell(&self, line: &str) -> Output {
        Command::new("sh").args(["-c", line]).env("MFM", env!("CARGO_BIN_EXE_mfm")).current_dir(self.root()).output().unwrap()
    }

    /// Standard output of a run that must succeed and be quiet.
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(&[arguments, &["-q"]].concat());
        let (out, err) = texts(&output);
        assert!(output.status.success(), "mfm {arguments:?}: {err}");
        assert_eq!(err, "", "mfm {arguments:?}");
        out
    }

    /// A run that must be refused by one sentence with all of `words`, and leave no trace.
    pub fn refuses(&self, arguments: &[&str], words: &[&str]) {
        let before = self.contents();
        let output = self.run(&[arguments, &["-q"]].concat());
        is_refused(&output, words);
        let after = self.contents();
        let changed: Vec<_> = before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
        assert!(changed.is_empty(), "mfm {arguments:?} left its traces in {changed:?}");
    }
}

/// A small training run.
pub const TRAIN: [&str; 12] = ["train", "points.csv", "-o", "model.mfm", "--steps", "20", "--width", "24", "--depth", "2", "--batch", "64"];

pub fn texts(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// Numbers in lines, apart by commas.
pub fn rows(text: &str) -> Vec<Vec<f64>> {
    text.lines().map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect()
}

/// Checks for exit status 2, one sentence on standard error with all of `words`, and nothing on standard output.
pub fn is_refused(output: &Output, words: &[&str]) {
    let (out, err) = texts(output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.starts_with("mfm: ") && !err.contains("panic"), "{err}");
    for word in words {
        assert!(err.contains(word), "{word:?} is missing in: {err}");
    }
    assert_eq!(out, "", "{err}");
}
