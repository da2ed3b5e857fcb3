//! A run's folder: its options, its log, its checkpoint and its model.

use super::log::{Line, lines};
use crate::failure::{Failure, Result};
use crate::model::read;
use crate::output::{self, Directory};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The options of a command line by their names.
pub type Options = Map<String, Value>;

/// The folder of a training run, there or not yet.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The folder at `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The finished model.
    pub fn model(&self) -> PathBuf {
        self.0.join("model.mfm")
    }

    /// The last checkpoint, whose model is that of its step.
    pub fn checkpoint(&self) -> PathBuf {
        self.0.join("checkpoint.mfm")
    }

    /// The log, one JSON object a line.
    pub fn log(&self) -> PathBuf {
        self.0.join("log.jsonl")
    }

    /// The options of the run, a JSON object.
    fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    /// A file of another name in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder at `path`, for a new run or to go on with the one that it holds.
    ///
    /// # Errors
    /// If it holds a run that is not to be resumed.
    pub fn begin(path: &Path, resume: bool) -> Result<Self> {
        let folder = Self::new(path);
        if !resume && folder.options()?.is_some() {
            return Err(Failure::input(format!(
                "--run {}: it holds a run; go on with it by --resume, or name another folder",
                path.display()
            )));
        }
        Ok(folder)
    }

    /// Makes the folder for a run of these options; one that holds the run already stays as it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(&self, options: &Options) -> Result<()> {
        let directory = Directory::create(&self.0)?;
        for file in [self.config(), self.log(), self.model()] {
            output::remove_remains(&file);
        }
        let path = directory.file("config.json");
        if path.exists() {
            return Ok(());
        }
        let mut text = serde_json::to_string_pretty(options).map_err(|error| Failure::Internal(error.to_string()))?;
        text.push('\n');
        output::write_bytes(&path, text.as_bytes())
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
        serde_json::from_slice(&read(&path)?).map(Some).map_err(|error| Failure::input(format!("{}: {error}", path.display())))
    }

    /// The log of the run up to its last whole line; empty where there is none.
    ///
    /// # Errors
    /// If it cannot be read, or another line than the last is damaged.
    pub fn lines<L: Line>(&self) -> Result<Vec<L>> {
        lines(&self.log())
    }
}
