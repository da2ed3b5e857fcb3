//! The log of a run: one JSON object a line, in step with the checkpoint whenever the run is killed.

use crate::failure::{Failure, Result};
use crate::output;
use mfm_nn::file::read;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How a step went: a line of the log.
pub trait Line: Clone + Serialize + DeserializeOwned {
    /// The step, counted from 1.
    fn step(&self) -> u64;

    /// Seconds of training until then, over all parts of a run that was interrupted.
    fn seconds(&self) -> f64;

    /// The same line at so many seconds.
    #[must_use]
    fn at(self, seconds: f64) -> Self;

    /// What people see while it runs.
    fn remark(&self) -> String;

    /// What more there is to see.
    fn detail(&self) -> String;
}

/// The lines of a log. A last one without its end was being written when the run was killed, and is left out.
///
/// # Errors
/// If the file cannot be read, or a line is none of such a log.
pub(super) fn lines<L: Line>(path: &Path) -> Result<Vec<L>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = read(path)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let texts = bytes[..whole].split(|byte| *byte == b'\n').filter(|text| !text.is_empty());
    let line =
        |(i, text)| serde_json::from_slice(text).map_err(|error| Failure::input(format!("{}: line {}: {error}", path.display(), i + 1)));
    texts.enumerate().map(line).collect()
}

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    every: u64,
    /// Seconds before this part of the run.
    before: f64,
}

impl Log {
    /// The log at `path` of a run that has made `made` steps and goes on, with a line every `every` steps: lines beyond are dropped, for those steps are
    /// made again.
    ///
    /// # Errors
    /// If the file is damaged or cannot be written.
    pub fn open<L: Line>(path: &Path, made: u64, every: u64) -> Result<Self> {
        let mut kept: Vec<L> = lines(path)?;
        kept.retain(|line| line.step() <= made);
        output::write(path, |file| kept.iter().try_for_each(|line| file.write_all(text(line)?.as_bytes())))?;
        let file = File::options().append(true).open(path).map_err(|error| Failure::file("write", path, &error))?;
        Ok(Self { path: path.to_owned(), file, every, before: kept.last().map_or(0.0, Line::seconds) })
    }

    /// Whether a step has a line.
    pub fn wants(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    /// Adds a line, whose seconds are those of this part of the run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, line: &impl Line) -> Result<()> {
        let line = line.clone().at(self.before + line.seconds());
        // One write, so that a kill tears at most the last line.
        text(&line).and_then(|text| self.file.write_all(text.as_bytes())).map_err(|error| Failure::file("write", &self.path, &error))
    }

    /// Waits until all lines are on the disk: before the checkpoint of their steps is.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Failure::file("write", &self.path, &error))
    }
}

fn text(line: &impl Line) -> std::io::Result<String> {
    Ok(serde_json::to_string(line)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::train::LogRow;

    fn row(step: u64) -> LogRow {
        LogRow { step, diagonal: 0.1 * step as f64, consistency: 0.0, gradient_norm: 1.0, learning_rate: 1e-3, seconds: step as f64 }
    }

    #[test]
    fn torn_lines_and_steps_beyond_the_checkpoint_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let mut log = Log::open::<LogRow>(&path, 0, 2).unwrap();
        assert!(log.wants(4) && !log.wants(3));
        for step in 1..=5 {
            log.add(&row(step)).unwrap();
        }
        log.sync().unwrap();
        drop(log);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"step\":6,\"diag");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(lines(&path).unwrap().last(), Some(&row(5)));

        let mut log = Log::open::<LogRow>(&path, 3, 1).unwrap();
        log.add(&row(4)).unwrap();
        let resumed: Vec<LogRow> = lines(&path).unwrap();
        assert_eq!(resumed[..3], [row(1), row(2), row(3)]);
        // Its seconds go on from those of the last row that was kept.
        assert_eq!(resumed[3..], [LogRow { seconds: 7.0, ..row(4) }]);

        std::fs::write(&path, b"{\"step\":1}\nnonsense\n").unwrap();
        assert!(lines::<LogRow>(&path).unwrap_err().to_string().contains("log.jsonl: line 1: missing field"));
    }
}
