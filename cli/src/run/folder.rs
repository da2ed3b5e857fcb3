//! A run's folder: its options, its log, its checkpoint and its model.

use super::log::{Line, lines};
use crate::failure::{Failure, Result};
use crate::output::{self, Directory};
use mfm_nn::file::read;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The options of a command line by their names.
pub type Options = Map<String, Value>;

/// The folder of a training run, there or not yet.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Whether it is to go on with the run in it.
    resume: bool,
    /// What keeps other processes out, once the folder is made.
    lock: RefCell<Option<File>>,
}

impl RunFolder {
    /// The folder at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), resume: false, lock: RefCell::default() }
    }

    /// The finished model.
    pub fn model(&self) -> PathBuf {
        self.path.join("model.mfm")
    }

    /// The last checkpoint, whose model is that of its step.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint.mfm")
    }

    /// The log, one JSON object a line.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }

    /// The options of the run, a JSON object.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.json")
    }

    /// A file of another name in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What is locked while a process is at work in the folder: a file that nobody replaces, whose lock a rename would leave behind.
    fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// All files that a run writes by itself.
    pub fn files(&self) -> [PathBuf; 5] {
        [self.model(), self.checkpoint(), self.log(), self.config(), self.lock_file()]
    }

    /// The folder at `path`, for a new run or to go on with the one that it holds. A run that ended before its first checkpoint left nothing to go on with, and
    /// makes way.
    ///
    /// # Errors
    /// If it holds a run that is not to be resumed.
    pub fn begin(path: &Path, resume: bool) -> Result<Self> {
        let folder = Self { resume, ..Self::new(path) };
        folder.check()?;
        Ok(folder)
    }

    /// The folder of a run, if it is kept in one, and the file of its model.
    ///
    /// # Errors
    /// As [`begin`](Self::begin); and if neither `run` nor `out` is given, or `out` cannot be written.
    pub fn place(run: Option<&Path>, out: Option<&Path>, resume: bool) -> Result<(Option<Self>, PathBuf)> {
        match (run, out) {
            (Some(path), _) => {
                let folder = Self::begin(path, resume)?;
                let model = folder.model();
                Ok((Some(folder), model))
            }
            (None, Some(out)) => {
                output::check(out)?;
                Ok((None, out.to_owned()))
            }
            (None, None) => Err(Failure::input("--out or --run: one of them says where the model goes")),
        }
    }

    /// Checks that it holds no run but one that is to be resumed.
    fn check(&self) -> Result<()> {
        if !self.resume && self.config().exists() && (self.checkpoint().exists() || self.model().exists()) {
            return Err(Failure::input(format!(
                "--run {}: it holds a run; go on with it by --resume, or name another folder",
                self.path.display()
            )));
        }
        Ok(())
    }

    /// Makes the folder for a run of these options; one that holds the run already stays as it is. Until this value is dropped, no other process can do the
    /// same: two would write one log.
    ///
    /// # Errors
    /// If it cannot be written, another process is at work in it, or one has been since [`begin`](Self::begin) and left a run.
    pub fn create(&self, options: &Options) -> Result<()> {
        let directory = Directory::create(&self.path)?;
        self.lock()?;
        self.check()?;
        if !self.options().is_ok_and(|kept| kept.as_ref() == Some(options)) {
            // The log of a run that left nothing else is of no use to this one.
            if !self.checkpoint().exists() {
                directory.remove("log.jsonl")?;
            }
            let mut text = serde_json::to_string_pretty(options).map_err(|error| Failure::Internal(error.to_string()))?;
            text.push('\n');
            output::write_bytes(&self.config(), text.as_bytes())?;
        }
        for file in [self.config(), self.log(), self.model()] {
            output::remove_remains(&file);
        }
        Ok(())
    }

    /// Keeps other processes out. A file system without locks must not keep a run from training.
    fn lock(&self) -> Result<()> {
        let path = self.lock_file();
        let file = File::options().append(true).create(true).open(&path).map_err(|error| Failure::file("write", &path, &error))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(Failure::input(format!("--run {}: another process is at work in this folder", self.path.display())));
        }
        self.lock.replace(Some(file));
        Ok(())
    }

    /// The options of the run; `None` where there is none yet.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn options(&self) -> Result<Option<Options>> {
        let path = self.config();
        if !path.exists() {
            return Ok(None);
        }
        serde_json::from_slice(&read(&path)?)
            .map(Some)
            .map_err(|error| Failure::input(format!("{}: the options of the run are damaged: {error}", path.display())))
    }

    /// The log of the run up to its last whole line; empty where there is none.
    ///
    /// # Errors
    /// If it cannot be read, or another line than the last is damaged.
    pub fn lines<L: Line>(&self) -> Result<Vec<L>> {
        lines(&self.log())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(steps: u64) -> Options {
        Options::from_iter([("steps".to_owned(), steps.into())])
    }

    #[test]
    fn one_of_two_that_begin_at_once_gets_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run");
        let [one, other, last] = [(); 3].map(|()| RunFolder::begin(&path, false).unwrap());
        let refused = |folder: &RunFolder, why: &str| {
            let complaint = folder.create(&options(3)).unwrap_err().to_string();
            assert!(complaint.contains(why), "{complaint}");
        };
        one.create(&options(1)).unwrap();
        refused(&other, "run: another process is at work in this folder");
        assert_eq!(one.options().unwrap(), Some(options(1)));
        // What left nothing makes way, and the run that takes its place is as safe.
        drop(one);
        other.create(&options(2)).unwrap();
        refused(&last, "run: another process is at work in this folder");
        output::write_bytes(&other.model(), b"").unwrap();
        drop(other);
        refused(&last, "run: it holds a run");
        assert_eq!(last.options().unwrap(), Some(options(2)));
        drop(last);
        RunFolder::begin(&path, true).unwrap().create(&options(2)).unwrap();
    }
}
