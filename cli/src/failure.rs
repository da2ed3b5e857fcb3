//! What ends a run early, as one sentence.

use mfm_nn::FileError;
pub use mfm_nn::file::reason;
use mfm_nn::train::TrainError;
use std::fmt;
use std::io;
use std::path::Path;

/// The result of everything that can end a run.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What was given cannot be used, or what is to be written cannot be: one sentence naming the thing and the place.
    Input(String),
    /// A mistake of this program's own.
    Internal(String),
}

impl Failure {
    /// Bad input.
    pub fn input(sentence: impl Into<String>) -> Self {
        Self::Input(sentence.into())
    }

    /// What the system said about a file.
    pub fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::Input(format!("cannot {doing} {}: {}", path.display(), reason(error)))
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Internal(_) => 1,
        }
    }

    /// The same failure with its place before it.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        match self {
            Self::Input(sentence) => Self::Input(format!("{place}: {sentence}")),
            Self::Internal(sentence) => Self::Internal(format!("{place}: {sentence}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(sentence) => f.write_str(sentence),
            Self::Internal(sentence) => write!(f, "internal error: {sentence}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<mfm_core::Error> for Failure {
    fn from(error: mfm_core::Error) -> Self {
        use mfm_core::Error;
        match error {
            Error::Range { .. }
            | Error::NonFinite { .. }
            | Error::TooLarge { .. }
            | Error::OutOfMemory { .. }
            | Error::Unsupported { .. }
            | Error::Device { .. }
            | Error::Index { .. }
            | Error::Cancelled => Self::Input(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

/// What is read is not ours.
impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::Input(error.to_string())
    }
}

/// A gradient that is not finite is the fault of data or settings.
impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Tensor(error) => error.into(),
            other => Self::input(format!("{other}; try a lower learning rate, or data of usual size")),
        }
    }
}

impl From<mfm_picture::Error> for Failure {
    fn from(error: mfm_picture::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Adds to an error where it arose.
pub trait Place<T> {
    /// The value, or the failure with `place` before it.
    ///
    /// # Errors
    /// The failure.
    fn at(self, place: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Failure>> Place<T> for std::result::Result<T, E> {
    fn at(self, place: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().at(place))
    }
}
