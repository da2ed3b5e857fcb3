//! A run's folder: its options, its log, its checkpoint and its model.

use super::log::{Line, lines};
use crate::failure::{Failure, Result};
use crate::model::read;
use crate::output::{self, Directory};
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
    /// What keeps other processes out, once the folder is made.
    lock: RefCell<Option<File>>,
}

impl RunFolder {
    /// The folder at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), lock: RefCell::default() }
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

    /// The folder at `path`, for a new run or to go on with the one that it holds. A run that ended before its first checkpoint left nothing to go on with, and
    /// makes way.
    ///
    /// # Errors
    /// If it holds a run that is not to be resumed.
    pub fn begin(path: &Path, resume: bool) -> Result<Self> {
        let folder = Self::new(path);
        if !resume && folder.config().exists() && (folder.checkpoint().exists() || folder.model().exists()) {
            return Err(Failure::input(format!(
                "--run {}: it holds a run; go on with it by --resume, or name another folder",
                path.display()
            )));
        }
        Ok(folder)
    }

    /// Makes the folder for a run of these options; one that holds the run already stays as it is. Until this value is dropped, no other process can do the
    /// same: two would write one log.
    ///
    /// # Errors
    /// If it cannot be written, or another process is at work in it.
    pub fn create(&self, options: &Options) -> Result<()> {
        let directory = Directory::create(&self.path)?;
        let path = self.config();
        self.lock(&path)?;
        if !self.options().is_ok_and(|kept| kept.as_ref() == Some(options)) {
            // The log of a run that left nothing else is of no use to this one.
            if !self.checkpoint().exists() {
                directory.remove("log.jsonl")?;
            }
            let mut text = serde_json::to_string_pretty(options).map_err(|error| Failure::Internal(error.to_string()))?;
            text.push('\n');
            output::write_bytes(&path, text.as_bytes())?;
            self.lock(&path)?;
        }
        for file in [path, self.log(), self.model()] {
            output::remove_remains(&file);
        }
        Ok(())
    }

    /// Locks the folder by its options, which nobody else replaces then. A file system without locks must not keep a run from training.
    fn lock(&self, config: &Path) -> Result<()> {
        // Elsewhere a lock keeps others from reading the file, too.
        if !cfg!(unix) {
            return Ok(());
        }
        self.lock.take();
        let Ok(file) = File::options().append(true).open(config).or_else(|_| File::open(config)) else { return Ok(()) };
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
