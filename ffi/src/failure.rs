//! Errors with their codes.

use mfm_core::Error;
use mfm_nn::train::TrainError;
use mfm_nn::{ConditionError, FileError};
use std::fmt;

/// The codes of `mfm_code` in `mfm.h`, by their numbers, but for those that are no failures of this side: 6 is a null pointer, which the shim refuses itself, and 18
/// an answer of the progress callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // Explained in mfm.h.
pub enum Code {
    Cancelled = 1,
    CallbackFailed = 2,
    CallbackThrew = 3,
    CallbackThrewOther = 4,
    NotFinite = 5,
    Length = 7,
    Empty = 8,
    Range = 9,
    File = 10,
    BadModel = 11,
    OutOfMemory = 12,
    Unsupported = 13,
    Busy = 14,
    DlPack = 15,
    Device = 16,
    Internal = 17,
}

/// Why a call failed. Shown as "CODE:MESSAGE", which is how it crosses the bridge.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The kind.
    pub code: Code,
    /// One sentence.
    pub message: String,
}

/// The result of everything that the host can ask for.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure of a kind, with its sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The same failure with its place before it.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }
}

/// Refuses the first option that is given but not read: (name, is given, is read).
///
/// # Errors
/// [`Code::Range`] for one that makes no difference to `what`.
pub fn refuse_unread(options: &[(&str, bool, bool)], what: &str) -> Result<()> {
    match options.iter().find(|(_, is_given, is_read)| *is_given && !is_read) {
        Some((option, ..)) => Err(Failure::new(Code::Range, format!("{option}: it makes no difference to {what}"))),
        None => Ok(()),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.code as u8, self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Shape { .. } | Error::Rank { .. } | Error::Axis { .. } | Error::Length { .. } | Error::Index { .. } => Code::Length,
            Error::TooLarge { .. } | Error::OutOfMemory { .. } => Code::OutOfMemory,
            Error::Range { .. } => Code::Range,
            Error::NonFinite { .. } => Code::NotFinite,
            Error::NotDifferentiable { .. } | Error::Independent { .. } | Error::Unsupported { .. } => Code::Unsupported,
            Error::Device { .. } => Code::Device,
            Error::Cancelled => Code::Cancelled,
            _ => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ConditionError> for Failure {
    fn from(error: ConditionError) -> Self {
        let code = match error {
            ConditionError::UnknownLabel { .. } => Code::Length,
            ConditionError::UnknownScale { .. } => Code::Range,
            _ => Code::Unsupported,
        };
        Self::new(code, error.to_string())
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Tensor(error @ (Error::OutOfMemory { .. } | Error::Device { .. })) => error.into(),
            FileError::In { path, source } => Self::from(*source).at(&path),
            FileError::Io { .. } => Self::new(Code::File, error.to_string()),
            _ => Self::new(Code::BadModel, error.to_string()),
        }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Tensor(error) => error.into(),
            _ => Self::new(Code::NotFinite, error.to_string()),
        }
    }
}
