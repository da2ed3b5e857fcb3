//! The log of a run: one JSON object a line, in step with the checkpoint whenever the run is killed.

use crate::failure::{Failure, Result};
use crate::model::read;
use crate::output;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRow {
    /// The step, counted from 1.
    pub step: u64,
    /// The diagonal loss.
    pub diagonal: f64,
    /// The consistency loss; 0 without one.
    pub consistency: f64,
    /// The gradient's norm, before it was clipped.
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Seconds of training until then, over all parts of a run that was interrupted.
    pub seconds: f64,
}

/// The rows in a log. A last line without its end was being written when the run was killed, and is left out.
///
/// # Errors
/// If the file cannot be read, or a line is no row.
pub(super) fn rows(path: &Path) -> Result<Vec<LogRow>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = read(path)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let row =
        |(i, line)| serde_json::from_slice(line).map_err(|error| Failure::input(format!("{}: line {}: {error}", path.display(), i + 1)));
    lines.enumerate().map(row).collect()
}

/// A log that is being written.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    every: u64,
    /// Seconds before this part of the run.
    before: f64,
}

impl Log {
    /// The log at `path` of a run that has made `made` steps and goes on, with a row every `every` steps: rows beyond are dropped, for those steps are
    /// made again.
    ///
    /// # Errors
    /// If the file is damaged or cannot be written.
    pub fn open(path: &Path, made: u64, every: u64) -> Result<Self> {
        let mut kept = rows(path)?;
        kept.retain(|row| row.step <= made);
        output::write(path, |file| kept.iter().try_for_each(|row| file.write_all(line(row)?.as_bytes())))?;
        let file = File::options().append(true).open(path).map_err(|error| Failure::file("write", path, &error))?;
        Ok(Self { path: path.to_owned(), file, every, before: kept.last().map_or(0.0, |row| row.seconds) })
    }

    /// Whether a step has a row.
    pub fn wants(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    /// Adds a row, whose seconds are those of this part of the run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, row: &LogRow) -> Result<()> {
        let row = LogRow { seconds: self.before + row.seconds, ..*row };
        // One write, so that a kill tears at most the last line.
        line(&row).and_then(|line| self.file.write_all(line.as_bytes())).map_err(|error| Failure::file("write", &self.path, &error))
    }

    /// Waits until all rows are on the disk: before the checkpoint of their steps is.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Failure::file("write", &self.path, &error))
    }
}

fn line(row: &LogRow) -> std::io::Result<String> {
    Ok(serde_json::to_string(row)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64) -> LogRow {
        LogRow { step, diagonal: 0.1 * step as f64, consistency: 0.0, gradient_norm: 1.0, learning_rate: 1e-3, seconds: step as f64 }
    }

    #[test]
    fn torn_lines_and_steps_beyond_the_checkpoint_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let mut log = Log::open(&path, 0, 2).unwrap();
        assert!(log.wants(4) && !log.wants(3));
        for step in 1..=5 {
            log.add(&row(step)).unwrap();
        }
        log.sync().unwrap();
        drop(log);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"step\":6,\"diag");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(rows(&path).unwrap().last(), Some(&row(5)));

        let mut log = Log::open(&path, 3, 1).unwrap();
        log.add(&row(4)).unwrap();
        let resumed = rows(&path).unwrap();
        assert_eq!(resumed[..3], [row(1), row(2), row(3)]);
        // Its seconds go on from those of the last row that was kept.
        assert_eq!(resumed[3..], [LogRow { seconds: 7.0, ..row(4) }]);

        std::fs::write(&path, b"{\"step\":1}\nnonsense\n").unwrap();
        assert!(rows(&path).unwrap_err().to_string().contains("log.jsonl: line 1: missing field"));
    }
}
