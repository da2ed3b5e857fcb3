//! What a check reports: a value, not a panic, so that a test can ask whether the suite catches a broken backend.

use mfm_core::Error;
use std::fmt;

/// What a check found wrong, and where.
#[derive(Clone, PartialEq)]
pub struct Failure {
    place: String,
    reason: String,
}

/// The outcome of a check.
pub type Check = Result<(), Failure>;

impl Failure {
    /// A failure for a reason in words.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { place: String::new(), reason: reason.into() }
    }

    /// The same failure, found inside `place`.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.place = if self.place.is_empty() { place.to_owned() } else { format!("{place}: {}", self.place) };
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(format!("an unexpected error: {error} ({error:?})"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.place, self.reason) }
    }
}

impl fmt::Debug for Failure {
    // A test that returns a failure prints its `Debug` form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

/// Says where a failure was found.
pub trait Within<T> {
    /// The same outcome; a failure, or an error, is found inside `place`.
    ///
    /// # Errors
    /// The failure, with its place.
    fn within<S: AsRef<str>>(self, place: impl FnOnce() -> S) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Within<T> for Result<T, E> {
    fn within<S: AsRef<str>>(self, place: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|error| error.into().within(place().as_ref()))
    }
}

/// A failure for `reason` unless `condition` holds.
///
/// # Errors
/// That failure.
pub fn require<S: Into<String>>(condition: bool, reason: impl FnOnce() -> S) -> Check {
    if condition { Ok(()) } else { Err(Failure::new(reason())) }
}
